//! The binary `faultline`.

use std::process::ExitCode;

fn main() -> ExitCode {
    faultline_coordinator::cli::main()
}
