//! The command of a researcher.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use faultline_lab::programs::built;

use super::*;

fn command(feed: SocketAddr, token_file: Option<&Path>, words: &[&str]) -> Child {
    let mut command = Command::new(built("faultline"));
    command.args(["measure", "watch", "-o", "ndjson", "--feed", &format!("http://{feed}")]).args(words);
    if let Some(file) = token_file {
        command.arg("--token-file").arg(file);
    }
    command.env_remove("FAULTLINE_TOKEN_FILE");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_prints_results_and_its_exit_code_says_how_it_ended() {
    let (data, coordinator, mut agent) = stage().await;
    let feed = coordinator.feed_address;
    let file = data.path().join("research.token");
    std::fs::write(&file, token(data.path(), vec![Role::MeasureRead])).expect("written");
    let code = |child: Child| child.wait_with_output().expect("ends");
    let refused = code(command(feed, None, &[]));
    assert_eq!(refused.status.code(), Some(1), "no role");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("measure-read"), "{refused:?}");
    assert_eq!(code(command(feed, Some(&file), &["--target", "nothing"])).status.code(), Some(2), "no target");
    assert_eq!(code(command(feed, Some(&file), &["--for", "1ms"])).status.code(), Some(0), "time is up");
    let mut child = command(feed, Some(&file), &["--outcome", "failed"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let first = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        line
    });
    tokio::pin!(first);
    let now = Clock::system().now_micros();
    let line = time::timeout(HANG, async {
        loop {
            let failure = failed(agent.slot("air"), now, Layer::Tls, Cause::TlsReset);
            agent.report(vec![passed(agent.slot("air"), now), failure]).await.expect("acknowledged");
            if let Ok(line) = time::timeout(Duration::from_millis(100), &mut first).await {
                return line.expect("a line");
            }
        }
    });
    let line = line.await.expect("in time");
    assert!(
        line.starts_with(r#"{"type":"result","target":"air","probe":"https","region":"azure","group":"network-7""#),
        "{line}"
    );
    assert!(line.contains(r#""outcome":"failed","layer":"tls","cause":"tls_reset""#), "{line}");
    // Its reader is gone: the next line that it writes ends it.
    let ended = time::timeout(HANG, async {
        loop {
            let failure = failed(agent.slot("air"), now, Layer::Tls, Cause::TlsReset);
            agent.report(vec![failure]).await.expect("acknowledged");
            if let Some(status) = child.try_wait().expect("a child") {
                return status;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(ended.await.expect("in time").code(), Some(0));
    coordinator.stop().await;
}
