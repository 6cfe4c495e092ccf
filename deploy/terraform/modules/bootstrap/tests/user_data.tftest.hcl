# Plans alone: no provider, no state, no cloud. terraform init && terraform test

variables {
  coordinator    = "probe.example.org:7443"
  repository     = "https://packages.example.org/debian"
  repository_key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nkey\n-----END PGP PUBLIC KEY BLOCK-----\n"
  token_command  = "ask --name \"join token\""
}

run "the_vm_fetches_its_token_and_joins" {
  command = plan

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n")
    error_message = "cloud-init would not take it"
  }

  assert {
    condition     = yamldecode(output.user_data).runcmd[0][2] == "ask --name \"join token\" | faultline-agent join probe.example.org:7443"
    error_message = "not what the VM shall run"
  }

  assert {
    condition     = yamldecode(output.user_data).apt.sources.faultline.key == var.repository_key
    error_message = "the key does not arrive as it is"
  }
}

run "a_coordinator_that_is_a_command_is_refused" {
  command = plan

  variables {
    coordinator = "probe.example.org; reboot"
  }

  expect_failures = [var.coordinator]
}

run "a_repository_without_tls_is_refused" {
  command = plan

  variables {
    repository = "http://packages.example.org/debian"
  }

  expect_failures = [var.repository]
}
