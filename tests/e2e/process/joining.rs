//! From nothing to the first durable batch, with the commands that people run; and what is on record of it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

use faultline_lab::programs::built;

use super::{HANG, NOWHERE, Served, faultline, text};

fn join(served: &Served, config: &Path, join_string: &str) -> Output {
    let mut child = Command::new(built("faultline-agent"))
        .args(["join", &served.agents, "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("stdin").write_all(join_string.as_bytes()).expect("written");
    child.wait_with_output().expect("ends")
}

#[test]
fn a_machine_with_a_join_string_delivers_its_first_batch() {
    let folder = tempfile::tempdir().expect("dir");
    let (data, catalog) = (folder.path().join("data"), folder.path().join("nowhere.toml"));
    std::fs::write(&catalog, NOWHERE).expect("catalog");
    let there = data.display().to_string();
    let operate = |arguments: &[&str]| faultline(&[arguments, &["--data-dir", &there]].concat());
    assert!(operate(&["init", "--dns", "probe.example.org"]).status.success());
    let served = Served::start(&data, &catalog, &[]);
    let made = operate(&["token", "create", "--label", "fra", "--isp", "hetzner-de"]);
    let join_string = text(&made.stdout);
    assert!(made.status.success() && join_string.starts_with("flj1."), "{}", text(&made.stderr));
    let id = join_string.split('.').nth(1).expect("an id").to_owned();

    let config = folder.path().join("agent/agent.toml");
    let joined = join(&served, &config, &join_string);
    assert_eq!(joined.status.code(), Some(0), "{}", text(&joined.stderr));
    let said = text(&joined.stdout);
    let agent = said.lines().find_map(|line| line.strip_prefix("joined as ")).expect("a name").to_owned();
    let again = join(&served, &config, &join_string);
    assert_eq!((again.status.code(), text(&again.stdout).contains("nothing was changed")), (Some(0), true));
    let late = join(&served, &folder.path().join("late/agent.toml"), &join_string);
    assert_eq!(late.status.code(), Some(3), "{}", text(&late.stderr));
    let pin = join_string.trim().rsplit('.').next().expect("a pin").to_owned();
    let other = join(&served, &folder.path().join("other/agent.toml"), &join_string.replace(&pin, &"A".repeat(43)));
    assert_eq!(other.status.code(), Some(5), "{}", text(&other.stderr));
    let none = join(&served, &folder.path().join("none/agent.toml"), "fls1.noc.x");
    assert_eq!(none.status.code(), Some(2), "{}", text(&none.stderr));

    let mut running = Command::new(built("faultline-agent"))
        .args(["run", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let began = Instant::now();
    let of_agent = format!("{{\"agent\":\"{agent}\"");
    loop {
        let results = text(&operate(&["results", "export"]).stdout);
        if results.contains(&of_agent) {
            break;
        }
        assert!(began.elapsed() < HANG, "no result of {agent}: {results}");
    }
    let terminated = Command::new("kill").arg("-TERM").arg(running.id().to_string()).status().expect("kill");
    assert!(terminated.success() && running.wait().expect("ends").success());

    let listed = text(&operate(&["token", "list"]).stdout);
    assert!(listed.contains(&format!("{id}  used up")) && listed.contains(&agent), "{listed}");
    assert!(operate(&["token", "revoke", &id]).status.success());
    assert!(text(&operate(&["token", "list"]).stdout).contains(&format!("{id}  revoked")));
    let audit = text(&operate(&["audit", "tail"]).stdout);
    for wanted in
        ["create_token  done: join string", &format!("enroll  done: agent {agent}"), "TOKEN_USED_UP", "revoke_token"]
    {
        assert!(audit.contains(wanted), "{wanted}: {audit}");
    }
    let secret = join_string.split('.').nth(2).expect("a secret");
    assert!(!audit.contains(secret) && !listed.contains(secret));
}
