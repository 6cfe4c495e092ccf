//! Every prober of the bench really probes, at every kind.

use std::time::Duration;

use tokio::{task::JoinSet, time};

use super::{Slice, agent, bare};
use crate::load::{Kind, server};

#[tokio::test]
async fn the_agent_and_the_bare_loop_pass_every_kind() {
    let mut tasks = JoinSet::new();
    let places = server::open(&server::Shared::default(), &mut tasks).await.expect("servers");
    for kind in Kind::ALL {
        let slice = Slice { kind, places: places.clone(), lasts: Duration::from_millis(20), concurrency: 2 };
        for counted in [agent::run(&slice).await.expect("a prober"), bare::run(&slice).await.expect("a loop")] {
            assert!(counted.probes > 0 && counted.failed == 0, "{kind:?}: {counted:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slice_counts_what_failed_and_why() {
    let mut tasks = JoinSet::new();
    let places = server::open(&server::Shared::default(), &mut tasks).await.expect("servers");
    let slice = Slice { kind: Kind::Tcp, places, lasts: Duration::from_secs(10), concurrency: 2 };
    let counted = slice
        .run(async |worker| {
            time::sleep(Duration::from_secs(1)).await;
            if worker == 0 { Ok(()) } else { Err("as told".into()) }
        })
        .await;
    assert_eq!((counted.probes, counted.failed, counted.took), (20, 10, Duration::from_secs(10)));
    assert_eq!(counted.first_failure.as_deref(), Some("as told"));
}
