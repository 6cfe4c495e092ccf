//! The emulated internet with the real agents and the real coordinator: the feed tells the truth of a scenario.
//!
//! All scenarios run from `.ci/run` in a release build; here the default one, slower, since this build is.

use std::{net::SocketAddr, time::Duration};

use faultline_lab::{
    Net, Scenario, World,
    fleet::Fleet,
    play::{Play, Rules},
    scenario,
};
use faultline_proto::clock::Clock;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_names_front_door_and_clears_aws() {
    let world = World::standard();
    let scenario = Scenario::find(scenario::DEFAULT, &world).expect("scenario");
    let clock = Clock::emulated(2.0);
    let data = tempfile::tempdir().expect("dir");
    let net = Net::start(&world, clock, 1).expect("net");
    let feed = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut fleet = Fleet::start(&world, &net, clock, data.path(), feed).await.expect("fleet");
    let rules = Rules { exit_on_verdict: true, deadline: Duration::from_mins(2) };
    let mut story = Vec::new();
    let mut say = |line: String| story.push(line);
    let outcome = Play::run(&scenario, &net, &mut fleet, clock, rules, &mut say).await;
    fleet.stop().await;
    net.shutdown().await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}\n{}", story.join("\n")));
    assert!(outcome.is_right, "{:?}\n{}", outcome.faults, story.join("\n"));
}
