//! `faultline completions`: what a shell needs to complete commands and options, on standard output.

use std::{io::Write as _, process::ExitCode};

use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  faultline completions bash > ~/.local/share/bash-completion/completions/faultline\n  faultline completions zsh > ~/.zfunc/_faultline"
)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: clap::Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "faultline", &mut script);
        match std::io::stdout().write_all(&script) {
            // Whoever read this is gone.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            written => Ok(written.map(|()| ExitCode::SUCCESS)?),
        }
    }
}
