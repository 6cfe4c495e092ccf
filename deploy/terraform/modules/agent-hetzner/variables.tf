variable "names" {
  description = "Name of each agent; a VM is made for each"
  type        = set(string)
}

variable "user_data" {
  description = "The output user_data of the module bootstrap"
  type        = string
}

variable "location" {
  description = "Location of the VMs, as in fsn1"
  type        = string
}

variable "server_type" {
  description = "Size of the VMs, amd64; an agent needs 160 MiB"
  type        = string
  default     = "cx22"
}

variable "ssh_keys" {
  description = "Names of the SSH keys of whoever administers the VMs"
  type        = list(string)
}

variable "labels" {
  description = "Labels of all that is made"
  type        = map(string)
  default     = {}
}
