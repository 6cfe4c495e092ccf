//! From nothing to the first durable batch, with the commands that people run; what is on record of it; and all that may be in
//! the way.

use std::{
    io::Write as _,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use faultline_lab::programs::built;
use tempfile::TempDir;

use super::{HANG, NOWHERE, Served, faultline, text};

/// A coordinator that makes join strings.
struct Founded {
    served: Served,
    data: String,
    _folder: TempDir,
}

impl Founded {
    fn new() -> Self {
        Self::at("127.0.0.1:0")
    }

    fn at(agents: &str) -> Self {
        let folder = tempfile::tempdir().expect("dir");
        let (data, catalog) = (folder.path().join("data"), folder.path().join("nowhere.toml"));
        std::fs::write(&catalog, NOWHERE).expect("catalog");
        let there = data.display().to_string();
        assert!(faultline(&["init", "--dns", "probe.example.org", "--data-dir", &there]).status.success());
        Self { served: Served::at(agents, &data, &catalog, &[]), data: there, _folder: folder }
    }

    fn operate(&self, arguments: &[&str]) -> Output {
        faultline(&[arguments, &["--data-dir", &self.data]].concat())
    }

    fn join_string(&self) -> String {
        self.join_string_with(&[])
    }

    fn join_string_with(&self, more: &[&str]) -> String {
        let made = self.operate(&[&["token", "create", "--label", "fra", "--isp", "hetzner-de"], more].concat());
        let join_string = text(&made.stdout);
        assert!(made.status.success() && join_string.starts_with("flj1."), "{}", text(&made.stderr));
        join_string.trim().to_owned()
    }
}

/// A machine: a folder with a configuration or none, and perhaps an agent that runs.
struct Machine {
    folder: TempDir,
    notices: UnixDatagram,
    running: Option<Child>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("dir");
        let notices = UnixDatagram::bind(folder.path().join("notify.sock")).expect("a socket");
        notices.set_read_timeout(Some(HANG)).expect("a limit");
        Self { folder, notices, running: None }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    /// Starts the agent, as a service manager does that is told when it is ready.
    fn run(&mut self, environment: &[(&str, &str)]) {
        let child = Command::new(built("faultline-agent"))
            .args(["run", "--config"])
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify.sock"))
            .envs(environment.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        self.running = Some(child);
    }

    /// Waits until the agent says of itself what is wanted.
    fn hear(&self, wanted: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.notices.recv(&mut bytes).unwrap_or_else(|error| panic!("never {wanted:?}: {error}"));
            let said = text(&bytes[..length]);
            if said.contains(wanted) {
                assert!(said.starts_with("READY=1\n"), "{said}");
                return said;
            }
        }
    }

    fn stop(&mut self) {
        let mut child = self.running.take().expect("running");
        let told = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().expect("kill");
        assert!(told.success() && child.wait().expect("ends").success());
    }

    fn ask(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(built("faultline-agent"))
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let secret = input.split('.').nth(2).unwrap_or("no secret");
        let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("its arguments");
        assert!(!text(&arguments).contains(secret));
        // Whoever does not read it has ended, and says why.
        child.stdin.take().expect("stdin").write_all(input.as_bytes()).ok();
        child.wait_with_output().expect("ends")
    }

    fn join(&self, place: &str, join_string: &str, more: &[&str]) -> Output {
        self.ask(&[&["join", place], more].concat(), join_string)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn codes(output: &Output, code: i32, said: &str) {
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(said), "{said:?} is not in: {told}");
}

#[test]
fn two_commands_lead_to_the_first_durable_batch_and_leave_no_secret_behind() {
    let founded = Founded::new();
    let mut machine = Machine::new();
    codes(&machine.ask(&["status"], ""), 3, "is faultline-agent running");
    machine.run(&[]);
    assert_eq!(machine.hear("STATUS"), "READY=1\nSTATUS=not joined: run faultline-agent join");
    codes(&machine.ask(&["status", "--check"], ""), 1, "not joined");

    let join_string = founded.join_string();
    let (id, secret) =
        (join_string.split('.').nth(1).expect("an id"), join_string.split('.').nth(2).expect("a secret"));
    let joined = machine.join(&founded.served.agents, &join_string, &[]);
    codes(&joined, 0, "stored by the coordinator as live/1 after ");
    let said = text(&joined.stdout);
    for step in ["clock", "coordinator", "vantage", "identity", "session", "first batch"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("[ok]   {step} "))), "{step}: {said}");
    }
    assert!(said.contains("offset ") && said.contains("v4 ") && said.contains("CA pin matches"), "{said}");
    let agent = said.split("joined as ").nth(1).and_then(|rest| rest.split(':').next()).expect("a name").to_owned();
    machine.hear(&format!("as {agent}"));
    let results = text(&founded.operate(&["results", "export"]).stdout);
    assert!(results.contains(&format!("\"agent\":\"{agent}\"")), "not durable: {results}");
    let status = text(&machine.ask(&["status"], "").stdout);
    assert!(status.contains(&agent) && status.contains("renews from") && status.contains("expires"), "{status}");

    let again = machine.join(&founded.served.agents, &join_string, &["-o", "json"]);
    codes(&again, 0, "joined already: nothing was changed");
    for line in text(&again.stdout).lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(object["grade"] == "ok" || object["exit_code"] == 0, "{line}");
    }
    machine.stop();
    for path in files(machine.folder.path()) {
        let is_told = std::fs::read(&path).is_ok_and(|bytes| text(&bytes).contains(secret));
        assert!(!is_told, "{} has the secret", path.display());
    }
    let listed = text(&founded.operate(&["token", "list"]).stdout);
    assert!(listed.contains(&format!("{id}  used up")) && listed.contains(&agent), "{listed}");
    let audit = text(&founded.operate(&["audit", "tail"]).stdout);
    for wanted in ["create_token  done: join string", &format!("enroll  done: agent {agent}")] {
        assert!(audit.contains(wanted), "{wanted}: {audit}");
    }
    assert!(!audit.contains(secret) && !listed.contains(secret));
}

#[test]
fn what_is_in_the_way_has_an_exit_code_and_a_fix() {
    let founded = Founded::new();
    let (join_string, mut machine) = (founded.join_string(), Machine::new());
    let place = founded.served.agents.clone();
    codes(&machine.join(&place, &join_string, &[]), 2, "start it with `faultline-agent run --config");
    machine.run(&[]);
    machine.hear("not joined");
    codes(&machine.join(&place, "fls1.noc.x", &[]), 2, "no join string");
    let pin = join_string.rsplit('.').next().expect("a pin");
    codes(&machine.join(&place, &join_string.replace(pin, &"A".repeat(43)), &[]), 5, "CA pin does not match");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").to_string();
    let nobody = machine.join(&closed, &join_string, &[]);
    codes(&nobody, 4, "v4 127.0.0.1 failed");
    assert!(text(&nobody.stdout).contains("fix: "), "{}", text(&nobody.stdout));

    let other = Machine::new();
    codes(&other.join(&place, &join_string, &["--without-daemon"]), 0, "next: faultline-agent run");
    let spent = machine.join(&place, &join_string, &[]);
    codes(&spent, 3, "was good for 1 agents");
    assert!(text(&spent.stdout).contains("faultline token create"), "{}", text(&spent.stdout));
    assert!(!machine.folder.path().join("joined.toml").exists());
    codes(&machine.ask(&["status", "--check"], ""), 1, "not joined");

    // An agent of one coordinator is not one of another by mistake.
    let another = Founded::new();
    let strange = another.join_string();
    let before = std::fs::read(other.folder.path().join("identity.pem")).expect("an identity");
    codes(&other.join(&another.served.agents, &strange, &["--without-daemon"]), 7, "--replace");
    assert_eq!(std::fs::read(other.folder.path().join("identity.pem")).expect("an identity"), before);
    let replaced = other.join(&another.served.agents, &strange, &["--without-daemon", "--replace"]);
    codes(&replaced, 0, "joined as fra-");
    assert!(!other.folder.path().join("identity.pem").exists(), "the old one makes way");
}

#[test]
fn who_is_joined_and_delivers_nothing_hears_of_it() {
    let founded = Founded::new();
    let mut machine = Machine::new();
    std::fs::write(machine.config(), "[policy]\nmax_assignments = 0\n").expect("written");
    machine.run(&[]);
    machine.hear("not joined");
    let joined = machine.join(&founded.served.agents, &founded.join_string(), &["--wait", "2s"]);
    codes(&joined, 8, "no batch was stored within 2 s");
    assert!(text(&joined.stdout).contains("[fail] first batch"), "{}", text(&joined.stdout));
    machine.hear("joined https://");
}

#[test]
fn who_has_to_be_approved_hears_so_and_by_whom() {
    let founded = Founded::new();
    let mut machine = Machine::new();
    machine.run(&[]);
    machine.hear("not joined");
    let joined = machine.join(&founded.served.agents, &founded.join_string_with(&["--approve"]), &[]);
    codes(&joined, 6, "faultline agent approve fra-");
}

#[test]
fn an_identity_outranks_a_revoked_join_string_after_a_restart_too() {
    let founded = Founded::new();
    let (join_string, mut machine) = (founded.join_string(), Machine::new());
    let credentials = machine.folder.path().join("credentials");
    std::fs::create_dir(&credentials).expect("a folder");
    let environment = [
        ("FAULTLINE_JOIN", founded.served.agents.as_str()),
        ("CREDENTIALS_DIRECTORY", &credentials.display().to_string()),
    ];
    machine.run(&environment);
    machine.hear("there is no join string in");
    std::fs::write(credentials.join("join-token"), &join_string).expect("written");
    machine.hear("joined https://");
    machine.stop();

    let id = join_string.split('.').nth(1).expect("an id");
    assert!(founded.operate(&["token", "revoke", id]).status.success());
    machine.run(&environment);
    machine.hear("joined https://");
    codes(&machine.join(&founded.served.agents, &join_string, &[]), 0, "joined already");
    machine.stop();
    // Not even something else in its place is looked at.
    std::fs::write(credentials.join("join-token"), "rubbish").expect("written");
    machine.run(&environment);
    machine.hear("joined https://");
}

#[test]
fn who_leaves_forgets_all_of_it_and_may_join_again() {
    let founded = Founded::new();
    let mut machine = Machine::new();
    std::fs::write(machine.config(), "[vantage]\nisp = \"hetzner-de\"\n").expect("written");
    machine.run(&[]);
    machine.hear("not joined");
    for command in ["leave", "image-prepare"] {
        let join_string = founded.join_string();
        codes(&machine.join(&founded.served.agents, &join_string, &[]), 0, "hetzner-de (claimed)");
        assert!(files(machine.folder.path()).iter().any(|path| path.ends_with("spool.sqlite")));
        codes(&machine.ask(&[command], ""), 0, "said goodbye");
        let left =
            files(machine.folder.path()).into_iter().filter(|path| path.extension().is_none_or(|kind| kind != "sock"));
        let mut left: Vec<_> = left.map(|path| path.file_name().expect("a name").to_owned()).collect();
        left.sort();
        assert_eq!(left, ["agent.toml"], "{command}");
        codes(&machine.ask(&["status"], ""), 1, "not joined: run faultline-agent join");
        codes(&machine.ask(&[command], ""), 0, "it was not joined");
    }
    machine.stop();
    codes(&machine.ask(&["leave"], ""), 0, "there was no identity");
    codes(&machine.join(&founded.served.agents, &founded.join_string(), &["--without-daemon"]), 0, "joined as");
    codes(&machine.ask(&["image-prepare"], ""), 0, "its identity is gone");
    assert!(machine.config().exists() && !machine.folder.path().join("identity.pem").exists());
}

#[test]
fn a_coordinator_of_one_family_is_joined_over_that_one() {
    for (listen, family) in [("127.0.0.1:0", "v4 "), ("[::1]:0", "v6 ")] {
        let founded = Founded::at(listen);
        let machine = Machine::new();
        let joined = machine.join(&founded.served.agents, &founded.join_string(), &["--without-daemon"]);
        codes(&joined, 0, family);
    }
}

#[test]
fn what_is_wrong_ends_the_agent_before_it_is_ready() {
    let founded = Founded::new();
    let ends = |machine: &mut Machine, said: &str| {
        let ended = machine.ask(&["run"], "");
        codes(&ended, 2, said);
        let sent = UnixDatagram::unbound().expect("a socket");
        sent.send_to(b"READY=1\nend", machine.folder.path().join("notify.sock")).expect("sent");
        assert_eq!(machine.hear("READY"), "READY=1\nend", "nothing was said before");
    };
    let mut machine = Machine::new();
    std::fs::write(machine.config(), "[polcy]\n").expect("written");
    ends(&mut machine, "unknown field `polcy`");

    let mut machine = Machine::new();
    codes(&machine.join(&founded.served.agents, &founded.join_string(), &["--without-daemon"]), 0, "joined as");
    std::fs::write(machine.folder.path().join("identity.pem"), "rubbish").expect("written");
    ends(&mut machine, "identity.pem");
}
