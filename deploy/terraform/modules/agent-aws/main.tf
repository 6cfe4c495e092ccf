# Agents in one region of AWS: call it once a region. They dial out; nothing may connect to them.

resource "aws_security_group" "agent" {
  region      = var.region
  name_prefix = "faultline-agent-"
  description = "Faultline agents: out, never in"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_egress_rule" "ipv4" {
  region            = var.region
  security_group_id = aws_security_group.agent.id
  description       = "Whatever is probed"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "ipv6" {
  region            = var.region
  security_group_id = aws_security_group.agent.id
  description       = "Whatever is probed"
  ip_protocol       = "-1"
  cidr_ipv6         = "::/0"
}

resource "aws_instance" "agent" {
  for_each = var.names

  region                      = var.region
  ami                         = var.image_id
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.agent.id]
  associate_public_ip_address = true
  iam_instance_profile        = var.instance_profile
  user_data                   = var.user_data
  tags                        = merge(var.tags, { Name = each.key })

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  lifecycle {
    # A changed template must not replace a fleet.
    ignore_changes = [ami, user_data]
  }
}
