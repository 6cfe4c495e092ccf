output "user_data" {
  description = "For the VM's user data, as it is"
  value       = local.user_data
}
