variable "names" {
  description = "Name of each agent; a VM is made for each"
  type        = set(string)
}

variable "user_data" {
  description = "The output user_data of the module bootstrap"
  type        = string
}

variable "location" {
  description = "Region of the VMs"
  type        = string
}

variable "resource_group_name" {
  description = "Resource group that everything is made in"
  type        = string
}

variable "subnet_id" {
  description = "Subnet with a way to the internet; agents of one subnet are one witness"
  type        = string
}

variable "vm_size" {
  description = "Size of the VMs; an agent needs 160 MiB"
  type        = string
  default     = "Standard_B1s"
}

variable "admin_public_key" {
  description = "SSH public key of whoever administers the VMs"
  type        = string
}

variable "identity_id" {
  description = "User-assigned identity that may read the join token, and nothing else"
  type        = string
}

variable "tags" {
  description = "Tags of all that is made"
  type        = map(string)
  default     = {}
}
