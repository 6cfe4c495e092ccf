output "addresses" {
  description = "Public IPv4 address by name"
  value       = { for name, address in azurerm_public_ip.agent : name => address.ip_address }
}
