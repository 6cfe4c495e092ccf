//! A relayed path between real sockets, and what each link does to it.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::*;

/// Everything here takes milliseconds; this is a hang.
const HANG: Duration = Duration::from_secs(30);

/// What has not come by then is not coming.
const SILENCE: Duration = Duration::from_millis(100);

/// A relay with a coordinator's listener behind it.
struct Stage {
    address: SocketAddr,
    link: watch::Sender<Link>,
    coordinator: TcpListener,
    _relay: JoinSet<()>,
}

impl Stage {
    async fn new(link: Link) -> Self {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let coordinator = TcpListener::bind(local).await.expect("bind");
        let listener = tcp::listen(local).expect("bind");
        let address = listener.local_addr().expect("address");
        let (link, stands) = watch::channel(link);
        let (_, known) = watch::channel(Some(coordinator.local_addr().expect("address")));
        let agent = Ipv4Addr::LOCALHOST;
        let mut relay = JoinSet::new();
        let path = Path { agent, address, coordinator: known, link: stands, clock: Clock::system() };
        relay.spawn(keep(listener, path));
        Self { address, link, coordinator, _relay: relay }
    }

    /// A connection, both ends of it.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(self.address).await.expect("accepted");
        let (far, _) = timeout(HANG, self.coordinator.accept()).await.expect("in time").expect("relayed");
        (near, far)
    }

    /// A connection whose relay has seen it work both ways.
    async fn warm(&self) -> (TcpStream, TcpStream) {
        let (mut near, mut far) = self.connect().await;
        say(&mut near, "up").await;
        assert_eq!(hear(&mut far, 2).await, "up");
        say(&mut far, "down").await;
        assert_eq!(hear(&mut near, 4).await, "down");
        (near, far)
    }
}

async fn say(stream: &mut TcpStream, words: &str) {
    stream.write_all(words.as_bytes()).await.expect("said");
}

async fn hear(stream: &mut TcpStream, bytes: usize) -> String {
    let mut heard = vec![0; bytes];
    timeout(HANG, stream.read_exact(&mut heard)).await.expect("in time").expect("heard");
    String::from_utf8(heard).expect("text")
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read_u8()).await.is_err()
}

/// How the connection ends: everything that still came, and whether it was torn down.
async fn end(stream: &mut TcpStream) -> (String, Ending) {
    let mut heard = Vec::new();
    let read = timeout(HANG, stream.read_to_end(&mut heard)).await.expect("in time");
    let ending = match read {
        Ok(_) => Ending::Fin,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ending::Rst,
        Err(error) => panic!("{error}"),
    };
    (String::from_utf8(heard).expect("text"), ending)
}

#[tokio::test]
async fn a_cut_path_moves_nothing_and_delivers_when_it_heals() {
    let stage = Stage::new(Link::Whole).await;
    let (mut near, mut far) = stage.warm().await;
    stage.link.send_replace(Link::Cut);
    say(&mut near, "one").await;
    say(&mut far, "two").await;
    assert!(is_silent(&mut far).await && is_silent(&mut near).await);
    let mut during = TcpStream::connect(stage.address).await.expect("accepted");
    assert!(is_silent(&mut during).await);
    stage.link.send_replace(Link::Whole);
    assert_eq!((hear(&mut far, 3).await, hear(&mut near, 3).await), ("one".into(), "two".into()));
    timeout(HANG, stage.coordinator.accept()).await.expect("in time").expect("relayed");
}

#[tokio::test]
async fn a_refused_path_resets_what_is_up_and_refuses_what_comes() {
    let stage = Stage::new(Link::Whole).await;
    let (mut near, mut far) = stage.warm().await;
    stage.link.send_replace(Link::Refused);
    assert_eq!(end(&mut near).await, (String::new(), Ending::Rst));
    assert_eq!(end(&mut far).await, (String::new(), Ending::Rst));
    let refused = async {
        // Until the relay has closed its door, a knock may still be heard, and is reset.
        while !matches!(TcpStream::connect(stage.address).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
        {
        }
    };
    timeout(HANG, refused).await.expect("refused");
    stage.link.send_replace(Link::Whole);
    let opened = async {
        while TcpStream::connect(stage.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG, opened).await.expect("opened");
}

#[tokio::test]
async fn a_stalled_way_moves_nothing_and_the_other_everything() {
    let stage = Stage::new(Link::Whole).await;
    let (mut near, mut far) = stage.warm().await;
    stage.link.send_replace(Link::Stalled(Way::Down));
    say(&mut far, "two").await;
    say(&mut near, "one").await;
    assert_eq!(hear(&mut far, 3).await, "one");
    assert!(is_silent(&mut near).await);
    stage.link.send_replace(Link::Stalled(Way::Up));
    assert_eq!(hear(&mut near, 3).await, "two");
    say(&mut near, "one").await;
    assert!(is_silent(&mut far).await);
    stage.link.send_replace(Link::Whole);
    assert_eq!(hear(&mut far, 3).await, "one");
}

#[tokio::test]
async fn a_half_open_connection_tells_one_end_and_leaves_the_other_in_the_dark() {
    for gone in [End::Coordinator, End::Agent] {
        let stage = Stage::new(Link::Whole).await;
        let (near, far) = stage.warm().await;
        let (mut told, mut dark) = if gone == End::Coordinator { (far, near) } else { (near, far) };
        stage.link.send_replace(Link::HalfOpen { gone });
        assert_eq!(end(&mut told).await, (String::new(), Ending::Rst));
        say(&mut dark, "anybody?").await;
        assert!(is_silent(&mut dark).await);
        stage.link.send_replace(Link::Whole);
        assert_eq!(end(&mut dark).await, (String::new(), Ending::Rst));
        stage.warm().await;
    }
}

#[tokio::test]
async fn a_throttled_path_takes_its_time_and_loses_nothing() {
    let stage = Stage::new(Link::Throttled { bytes_per_second: 50_000 }).await;
    let (mut near, mut far) = stage.connect().await;
    let words = "0123456789".repeat(1_500);
    let began = Instant::now();
    say(&mut near, &words).await;
    assert_eq!(hear(&mut far, words.len()).await, words);
    // 15,000 bytes at 50,000 a second, but for the last portion, which nothing waits for.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_overtaken_connection_is_heard_after_a_newer_one_and_no_more_after_that() {
    let stage = Stage::new(Link::Whole).await;
    let (mut near, mut far) = stage.warm().await;
    stage.link.send_replace(Link::Overtaken { held: 8, until: 5 });
    say(&mut near, "old ").await;
    say(&mut near, "words").await;
    let (_, ending) = end(&mut near).await;
    assert_eq!(ending, Ending::Rst);
    assert!(is_silent(&mut far).await);
    let (mut newer, mut newer_far) = stage.connect().await;
    say(&mut newer, "new").await;
    assert_eq!(hear(&mut newer_far, 3).await, "new");
    assert!(is_silent(&mut far).await, "the newer one is not up yet");
    say(&mut newer_far, "hello").await;
    assert_eq!(hear(&mut newer, 5).await, "hello");
    let (heard, ending) = end(&mut far).await;
    assert!(heard.starts_with("old word") && ending == Ending::Fin, "{heard:?} {ending:?}");
    say(&mut newer, "more").await;
    assert_eq!(hear(&mut newer_far, 4).await, "more", "what overtakes stays up");
}

#[tokio::test]
async fn a_broken_connection_passes_exactly_so_many_bytes() {
    for ending in [Ending::Fin, Ending::Rst] {
        let stage = Stage::new(Link::Whole).await;
        let (mut near, mut far) = stage.warm().await;
        stage.link.send_replace(Link::Broken { after: 5, ending });
        say(&mut near, "123456789").await;
        let mut passed = hear(&mut far, 5).await;
        let (rest, ended) = end(&mut far).await;
        passed.push_str(&rest);
        assert_eq!((passed.as_str(), ended), ("12345", ending));
        stage.link.send_replace(Link::Whole);
        stage.warm().await;
    }
}
