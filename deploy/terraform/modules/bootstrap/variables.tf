variable "coordinator" {
  description = "Where agents connect, as in probe.example.org:7443"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+(:[0-9]+)?$", var.coordinator))
    error_message = "A host name, and a port if it is not 7443."
  }
}

variable "repository" {
  description = "Address of the apt repository with the package faultline-agent"
  type        = string

  validation {
    condition     = can(regex("^https://[^ \"]+$", var.repository))
    error_message = "An https address."
  }
}

variable "repository_key" {
  description = "Public key of the repository, ASCII-armoured"
  type        = string
}

variable "token_command" {
  description = "Shell command that prints a join token on the VM: asks the cloud's secret store with the VM's own rights"
  type        = string
}
