output "addresses" {
  description = "Public IPv4 address by name"
  value       = { for name, vm in hcloud_server.agent : name => vm.ipv4_address }
}
