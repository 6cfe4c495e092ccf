//! TCP: passed, refused, silent, and what policy and source address do.

use std::{
    net::{IpAddr, SocketAddr, TcpStream as BlockingStream},
    time::Duration,
};

use faultline_proto::types::v1::{Cause, Layer, Reason};
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    policy::Policy,
    probe::{Outcome, ProbeSettings, Prober, testing::*},
};

#[tokio::test]
async fn an_open_port_passes() {
    let server = tcp_server(|_stream| async {}).await;
    let observed = run(&prober(&Authority::new()), tcp(server.address)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(observed.result.address, [127, 0, 0, 1]);
    let timings = observed.result.timings.expect("timings");
    assert!(timings.connect_us > 0 && timings.dns_us == 0 && timings.tls_us == 0, "{timings:?}");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let closed = {
        let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let observed = run(&prober(&Authority::new()), tcp(closed)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::ConnectRefused)));
}

#[tokio::test]
async fn a_full_accept_queue_is_a_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a queue");
    let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = BlockingStream::connect_timeout(&address, SHORT) {
        waiting.push(stream);
        assert!(waiting.len() < 64, "the queue never fills");
    }
    let observed = run_short(&prober(&Authority::new()), tcp(address)).await;
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::ConnectTimeout)));
}

#[tokio::test]
async fn a_forbidden_address_is_not_connected_to() {
    let (seen, mut connections) = mpsc::channel(1);
    let server = tcp_server(move |_stream| {
        seen.try_send(()).ok();
        async {}
    })
    .await;
    let closed = ProbeSettings { policy: Policy::default(), ..settings(&Authority::new()) };
    let observed = run(&Prober::new(closed).expect("a prober"), tcp(server.address)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Unmeasured { reason: Reason::PolicyRefused }));
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn probes_leave_from_the_source_address() {
    let (seen, mut peers) = mpsc::channel(1);
    let server = tcp_server(move |stream| {
        seen.try_send(stream.peer_addr().map(|peer| peer.ip())).ok();
        async {}
    })
    .await;
    let source: IpAddr = [127, 0, 0, 42].into();
    let from = ProbeSettings { source_address: Some(source), ..settings(&Authority::new()) };
    let observed = run(&Prober::new(from).expect("a prober"), tcp(server.address)).await;
    assert_eq!(observed.outcome(), Some(Outcome::Passed));
    assert_eq!(peers.recv().await.expect("a connection").expect("a peer"), source);
}

#[tokio::test]
async fn a_connection_that_is_reset_as_it_opens_is_told_apart_from_a_refusal() {
    let listener = std::net::TcpListener::bind((HOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (reset, was_reset) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset instead of an end");
        drop(stream);
        reset.send(()).expect("somebody waits");
    });
    let prober = prober(&Authority::new());
    // The kernels have shaken hands once the run has been polled; it hears of that only after the reset.
    let wait = async { was_reset.recv_timeout(Duration::from_secs(5)).expect("a reset") };
    let (observed, ()) = futures::join!(run(&prober, tcp(address)), wait);
    server.join().expect("no panic");
    assert_eq!(observed.outcome(), Some(failed(Layer::Connect, Cause::ConnectReset)));
}
