//! The binary `faultline-lab`.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An emulated internet on loopback, with a real coordinator and real agents; and the bench that judges verdicts.
#[derive(Debug, Parser)]
#[command(
    name = "faultline-lab",
    version,
    before_help = "Example:\n  faultline-lab up\n  faultline-lab up --scenario 2021-06-08-fastly --exit-on-verdict\n  faultline-lab score --method engine --method majority -o report\n  faultline-lab quiet --days 1",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, play a scenario, and say what happens
    Up(cli::up::Up),
    /// Judge scenarios x seeds with the engine and the methods it must beat
    Score(Box<cli::score::Score>),
    /// Count false incidents over simulated days in which nothing breaks
    Quiet(cli::quiet::Quiet),
    /// Judge every scenario on fresh seeds, and count quiet days: what does not fit into CI
    Nightly(cli::nightly::Nightly),
    /// Try half and twice of each assumption of the engine
    Calibrate(cli::calibrate::Calibrate),
    /// Compare the agent with `blackbox_exporter`, case by case, at servers that misbehave
    Parity(cli::parity::Parity),
    /// Break everything between agents and log, in virtual time, and count what arrives
    Simulate(cli::simulate::Simulate),
    /// Feed mutated inputs to everything that reads what others wrote
    Fuzz(cli::fuzz::Fuzz),
    /// Kill agents and coordinator at random, and account for every result
    Chaos(cli::chaos::Chaos),
    /// Fill an agent's and a coordinator's disk, and watch both go on
    Disk(cli::disk::Disk),
    /// Cut an agent off for a day, in fast time, and watch it come back
    Partition(cli::partition::Partition),
    /// Measure what the engine costs, or the agent, and what the coordinator bears
    Bench(cli::bench::Bench),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    start_logs();
    match cli.command {
        Command::Up(up) => up.main(),
        Command::Score(score) => score.main(),
        Command::Quiet(quiet) => quiet.main(),
        Command::Nightly(nightly) => nightly.main(),
        Command::Calibrate(calibrate) => calibrate.main(),
        Command::Parity(parity) => parity.main(),
        Command::Simulate(simulate) => simulate.main(),
        Command::Fuzz(fuzz) => fuzz.main(),
        Command::Chaos(chaos) => chaos.main(),
        Command::Disk(disk) => disk.main(),
        Command::Partition(partition) => partition.main(),
        Command::Bench(bench) => bench.main(),
    }
}

fn start_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
