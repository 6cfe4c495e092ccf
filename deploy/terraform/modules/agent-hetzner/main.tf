# Agents outside of AWS and Azure: a verdict against either needs them. They dial out; nothing may connect to them.

resource "hcloud_firewall" "agent" {
  name   = "faultline-agent-${var.location}"
  labels = var.labels
  # Without a rule for what comes in, nothing does; what goes out is not held.
}

resource "hcloud_server" "agent" {
  for_each = var.names

  name         = each.key
  location     = var.location
  image        = "debian-12"
  server_type  = var.server_type
  ssh_keys     = var.ssh_keys
  firewall_ids = [hcloud_firewall.agent.id]
  user_data    = var.user_data
  labels       = var.labels

  public_net {
    ipv4_enabled = true
    ipv6_enabled = true
  }

  lifecycle {
    # A changed template must not replace a fleet.
    ignore_changes = [image, ssh_keys, user_data]
  }
}
