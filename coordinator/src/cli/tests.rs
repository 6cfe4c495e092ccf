//! What holds for every command.

use super::*;

/// Every command with the words that lead to it.
fn all(path: &str, command: &clap::Command) -> Vec<(String, clap::Command)> {
    let beneath = command.get_subcommands().flat_map(|sub| all(&format!("{path} {}", sub.get_name()), sub));
    std::iter::once((path.to_owned(), command.clone())).chain(beneath).collect()
}

#[test]
fn every_help_begins_with_an_example_of_its_own_and_says_the_exit_codes() {
    let commands = all("faultline", &command());
    assert!(commands.len() > 25, "{}", commands.len());
    for (path, mut command) in commands {
        let help = command.render_long_help().to_string();
        let example = help.strip_prefix("Example:\n").unwrap_or_else(|| panic!("{path}: {help}"));
        assert!(example.trim_start().starts_with(&path), "{path}: an example of another command: {example}");
        assert!(help.contains("Exit codes: 0"), "{path}: {help}");
    }
}

#[test]
fn the_commands_are_sound_and_complete_in_every_shell() {
    use clap::ValueEnum as _;
    command().debug_assert();
    for shell in clap_complete::Shell::value_variants() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut command(), "faultline", &mut script);
        let script = String::from_utf8(script).expect("text");
        assert!(["watch", "incident", "completions"].iter().all(|word| script.contains(word)), "{shell}");
    }
}
