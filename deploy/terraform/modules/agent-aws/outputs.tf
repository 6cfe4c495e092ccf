output "addresses" {
  description = "Public IPv4 address by name"
  value       = { for name, vm in aws_instance.agent : name => vm.public_ip }
}
