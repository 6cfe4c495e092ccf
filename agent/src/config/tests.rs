//! A good file is read whole, and each way to be wrong is answered with line, value and what is allowed.

use std::time::Duration;

use super::*;
use crate::{
    policy::Ports,
    schedule::{LookLimits, PaceLimits},
};

const COORDINATOR: &str = r#"
[[coordinator]]
endpoint = "https://probe.example.org:7443"
ca = "ca.pem"
certificate = "agent.pem"
key = "/etc/agent.key"
"#;

#[test]
fn a_small_file_gets_the_defaults() {
    let config = parse(COORDINATOR).expect("a good file");
    assert_eq!(config.coordinator.server_name, "probe.example.org");
    assert_eq!(config.coordinator.ca, Path::new("/etc/faultline/ca.pem"));
    assert_eq!(config.coordinator.key, Path::new("/etc/agent.key"));
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.probe.max_concurrency, 64);
    let spool = Spool {
        place: SpoolPlace::Below("/etc/faultline/state".into()),
        max_bytes: 256 * 1024 * 1024,
        max_memory_bytes: 16 * 1024 * 1024,
    };
    assert_eq!(config.spool, spool);
    assert_eq!(config.probe.resolver, ResolverChoice::System);
}

#[test]
fn every_key_is_read() {
    let text = format!(
        r#"{COORDINATOR}
server_name = "coordinator"
[vantage]
hosted_on = "aws"
region = "eu-central-1"
asn = 16509
isp = "amazon"
country = "DE"
geography = "eu"
[probe]
source_address = "127.0.0.9"
resolvers = ["127.0.0.1:5300", "::1"]
authority_port = 5301
max_concurrency = 10
[policy]
min_interval = "1s"
max_assignments = 5
look_spacing = "30s"
max_looks = 0
max_probes_per_second = 200
max_target_probes_per_minute = 30
allow_loopback = true
allow_private = true
ports = "any"
path_hint = false
[spool]
path = "spool"
max_bytes = 4194304
max_memory_bytes = 1048576
[status]
socket = "/run/faultline/status.sock"
[prometheus]
listen = "127.0.0.1:7445"
modules = "blackbox.yml"
"#
    );
    let config = parse(&text).expect("a good file");
    assert_eq!(config.coordinator.server_name, "coordinator");
    assert_eq!((config.vantage.asn, config.vantage.geography.as_str()), (16509, "eu"));
    let servers = ["127.0.0.1:5300", "[::1]:53"].map(|server| server.parse().expect("an address"));
    assert_eq!(config.probe.resolver, ResolverChoice::Servers(servers.to_vec()));
    assert_eq!(config.policy.ports, Ports::Any);
    assert_eq!(config.policy.min_interval, Duration::from_secs(1));
    assert!(!config.policy.path_hint);
    assert_eq!(config.policy.looks, LookLimits { spacing: Duration::from_secs(30), of_target: 0 });
    assert_eq!(config.policy.pace, PaceLimits { per_second: 200, per_target_minute: 30 });
    let place = SpoolPlace::Folder("/etc/faultline/spool".into());
    assert_eq!(config.spool, Spool { place, max_bytes: 4_194_304, max_memory_bytes: 1_048_576 });
    assert_eq!(config.status_socket.as_deref(), Some(Path::new("/run/faultline/status.sock")));
    let (listen, modules) = (([127, 0, 0, 1], 7445).into(), Some("/etc/faultline/blackbox.yml".into()));
    assert_eq!(config.prometheus, Some(Prometheus { listen, modules }));
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_what_is_allowed() {
    for (text, line, expected) in [
        ("[policy]\nmin_interval = \"20ms\"", "line 8", "interval 20ms is below the 1s floor"),
        ("[policy]\nlook_spacing = \"1s\"", "line 8", "look_spacing 1s is below the 2s floor"),
        ("[policy]\nmax_looks = 16", "line 8", "max_looks 16 is not within 0 to 15"),
        ("[policy]\nmax_probes_per_second = 0", "line 8", "max_probes_per_second 0 is not within 1 to 10000"),
        ("[policy]\nmax_target_probes_per_minute = 10001", "line 8", "10001 is not within 1 to 10000"),
        ("[policy]\nports = [443, 70000]", "line 8", "from 1 to 65535"),
        ("[policy]\nallow_everything = true", "line 8", "unknown field `allow_everything`"),
        ("[probe]\nresolvers = [\"dns\"]", "line 8", "resolver \"dns\""),
        ("[probe]\nmax_concurrency = 0", "line 8", "not within 1 to 10000"),
        ("[spool]\nmax_bytes = 10", "line 8", "below 4194304"),
        ("[spool]\nmax_memory_bytes = 10", "line 8", "below 524288"),
        ("[polcy]", "line 7", "unknown field `polcy`"),
    ] {
        let error = parse(&format!("{COORDINATOR}{text}")).expect_err(text).to_string();
        assert!(error.starts_with("/etc/faultline/agent.toml"), "{error}");
        assert!(error.contains(line) && error.contains(expected), "{text}: {error}");
    }
    let error = parse(&COORDINATOR.replace("https", "http")).expect_err("http").to_string();
    assert!(error.contains("line 3") && error.contains("https://host:port"), "{error}");
}

#[test]
fn results_can_be_kept_in_memory() {
    let config = parse(&format!("{COORDINATOR}[spool]\nin_memory = true")).expect("a good file");
    assert_eq!(config.spool, Spool::in_memory());
}

#[test]
fn there_is_exactly_one_coordinator() {
    let error = parse(&format!("{COORDINATOR}{COORDINATOR}")).expect_err("two").to_string();
    assert!(error.contains("several coordinators are not yet supported"), "{error}");
    let error = parse("[policy]").expect_err("none").to_string();
    assert!(error.contains("one is needed"), "{error}");
}

#[test]
fn who_has_not_joined_is_nobodys_agent_and_who_has_is_the_one_of_the_state_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.toml");
    let text = "[policy]\nmax_looks = 3\n[state]\nfolder = \"mine\"\n[control]\nsocket = \"orders\"\n";
    fs::write(&file, text).expect("written");
    let setup = Setup::read(&file).expect("sound");
    assert_eq!(setup.control_socket, folder.path().join("orders"));
    assert!(setup.joined().expect("no error").is_none());
    let error = Config::read(&file).expect_err("no coordinator").to_string();
    assert!(error.contains("`faultline-agent join`"), "{error}");

    let state = folder.path().join("mine");
    fs::create_dir(&state).expect("a folder");
    fs::write(state.join(JOINED), COORDINATOR).expect("written");
    let config = Config::read(&file).expect("joined");
    assert_eq!(config.coordinator.ca, state.join("ca.pem"));
    assert_eq!((config.policy.looks.of_target, config.spool.place), (3, SpoolPlace::Below(state.join("state"))));

    // What the operator names outranks it.
    fs::write(&file, COORDINATOR.replace("probe.example.org", "other.example.org")).expect("written");
    assert_eq!(Config::read(&file).expect("issued").coordinator.server_name, "other.example.org");
    assert!(Setup::read(&file).expect("sound").joined().expect("no error").is_none(), "its files are missing");

    fs::write(&file, text).expect("written");
    fs::write(state.join(JOINED), "[[coordinator]]\n").expect("written");
    let error = setup.joined().expect_err("no endpoint").to_string();
    assert!(error.contains("joined.toml") && error.contains("line 1"), "{error}");
}

#[test]
fn the_systems_configuration_has_the_systems_folders() {
    // Only where no service manager says otherwise, as in a shell; a missing file is one that says nothing.
    if std::env::var_os("STATE_DIRECTORY").is_some() || std::env::var_os("RUNTIME_DIRECTORY").is_some() {
        return;
    }
    let setup = Setup::parse("", Path::new(SYSTEM_CONFIG)).expect("sound");
    assert_eq!(setup.state, Path::new("/var/lib/faultline-agent"));
    assert_eq!(setup.control_socket, Path::new("/run/faultline-agent/control.sock"));
    let setup = Setup::read(Path::new("/nonexistent/agent.toml")).expect("nothing said");
    assert_eq!(
        (setup.state.as_path(), setup.status_socket.as_path()),
        (Path::new("/nonexistent"), Path::new("/nonexistent/status.sock"))
    );
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/faultline/agent.toml"))
}
