variable "names" {
  description = "Name of each agent; a VM is made for each"
  type        = set(string)
}

variable "user_data" {
  description = "The output user_data of the module bootstrap"
  type        = string
}

variable "region" {
  description = "Region of the VMs"
  type        = string
}

variable "subnet_id" {
  description = "Subnet with a way to the internet; agents of one subnet are one witness"
  type        = string
}

variable "vpc_id" {
  description = "VPC of the subnet"
  type        = string
}

variable "image_id" {
  description = "Debian 12 image, amd64"
  type        = string
}

variable "instance_type" {
  description = "Size of the VMs; an agent needs 160 MiB"
  type        = string
  default     = "t3.nano"
}

variable "instance_profile" {
  description = "Instance profile that may read the join token, and nothing else"
  type        = string
}

variable "tags" {
  description = "Tags of all that is made"
  type        = map(string)
  default     = {}
}
