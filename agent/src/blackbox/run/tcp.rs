//! Looks of a tcp module: a connection, TLS where it begins with that, and what is said on it.

use std::{net::SocketAddr, time::Duration};

use super::{
    super::{
        metrics::{Failure, Measured, Of, TcpMeasured},
        modules::Tcp,
    },
    Begun, Runner, host_and_port,
    talk::{Ended, Wire, talk},
};
use crate::probe::{BodyLimits, Phase, Stop};

pub(super) async fn probe(
    runner: &Runner,
    tcp: &Tcp,
    target: &str,
    hostname: Option<&str>,
    timeout: Duration,
) -> Measured {
    let mut begun = Begun::at(runner.look(timeout, BodyLimits::default()));
    let mut measured = TcpMeasured::default();
    let Some((host, port)) = host_and_port(target) else {
        return begun.end(runner, timeout, Some(Failure::Target), |_| Of::Tcp(measured));
    };
    let name = tcp.tls.server_name.as_deref().or(hostname).unwrap_or(host);
    let failure = match begun.choose(host, port, tcp.family).await {
        Ok(address) => say(&mut begun, tcp, (address, name), &mut measured).await.err(),
        Err(stop) => Some(stop.into()),
    };
    begun.end(runner, timeout, failure, |_| Of::Tcp(measured))
}

async fn say(
    begun: &mut Begun,
    tcp: &Tcp,
    (address, name): (SocketAddr, &str),
    measured: &mut TcpMeasured,
) -> Result<(), Failure> {
    let look = &mut begun.look;
    let stream = look.connect(address, tcp.source).await?;
    let wire = if tcp.begins_with_tls {
        Wire::Encrypted(Box::new(look.encrypt(name, stream).await?))
    } else {
        Wire::Clear(stream)
    };
    measured.is_open = true;
    let talked = talk(look, wire, name, &tcp.steps, &mut measured.expect_info).await;
    look.progress.end(Phase::FirstByte);
    talked.map_err(|ended| match ended {
        Ended::Mismatch { is_line } => {
            measured.failed_due_to_regex = is_line;
            measured.failed_due_to_bytes = !is_line;
            Failure::Expect
        }
        Ended::Timeout => Failure::Silence,
        Ended::Broken => Failure::Broken,
        Ended::Tls(stop) => <Failure as From<Stop>>::from(stop),
    })
}
