# What a new VM is told: where packages come from, and how to join. No provider is needed, and no secret passes through.

locals {
  user_data = templatefile("${path.module}/user-data.yaml.tftpl", {
    coordinator    = var.coordinator
    repository     = var.repository
    repository_key = var.repository_key
    token_command  = var.token_command
  })
}
