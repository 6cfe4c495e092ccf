//! What others say, as subscribers see it: in the one sequence, resumed like any change, and there again after a restart.

use faultline_coordinator::{
    claims::{Crowd, Intake, Sighting, Stance, intake::Seen},
    feed::convert,
};
use faultline_proto::types::v1 as wire;

use super::*;

fn seen(intake: &Intake, source: &str, about: &str, stance: Stance, count: Option<u64>) -> Seen {
    let crowd = count.map(|count| Crowd { count, baseline: 8, window_s: Some(900) });
    let sighting = Sighting { crowd, text: format!("{source} speaks"), ..Sighting::bare(stance) };
    Seen { source: source.into(), about: about.into(), at: intake.now(), sighting }
}

async fn claims(client: &mut FeedServiceClient<Channel>) -> Vec<wire::Claim> {
    let answer = client.get_snapshot(GetSnapshotRequest::default()).await.expect("snapshot").into_inner();
    answer.snapshot.expect("snapshot").claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_come_in_the_one_sequence_and_stay_over_a_restart() {
    let (data, coordinator, clock) = stage().await;
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let start = Start::FromSnapshot(FromSnapshot {});
    let mut stream = client.subscribe(subscribe(start)).await.expect("subscribe").into_inner();
    let mut keeper = Keeper::default();
    keeper.take(next(&mut stream).await);
    let begun = keeper.held;

    let intake = &coordinator.claims;
    let said = vec![
        seen(intake, "aws-status", "aws", Stance::NothingPosted, None),
        seen(intake, "crowd", "aws", Stance::ReportsProblem, Some(6025)),
    ];
    assert_eq!(intake.take(said).await.expect("taken").published, 2);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let response = next(&mut stream).await;
        if let Some(Message::Event(event)) = &response.message
            && let Some(Change::Claim(claim)) = &event.change
        {
            heard.push((response.sequence, convert::claimed(claim).expect("a claim")));
        }
        keeper.take(response);
    }
    let names: Vec<_> = heard.iter().map(|(_, claim)| (claim.source.as_str(), claim.stance)).collect();
    assert_eq!(names, [("aws-status", Stance::NothingPosted), ("crowd", Stance::ReportsProblem)]);

    // Who was away sees them once, at the same places.
    let after = ResumeAfter { feed_id: keeper.feed_id.clone(), sequence: begun };
    let mut resumed = client.subscribe(subscribe(Start::ResumeAfter(after))).await.expect("resume").into_inner();
    let mut again = Vec::new();
    while again.len() < 2 {
        let response = next(&mut resumed).await;
        if let Some(Message::Event(event)) = response.message
            && let Some(Change::Claim(claim)) = event.change
        {
            again.push((response.sequence, convert::claimed(&claim).expect("a claim")));
        }
    }
    assert_eq!(again, heard);

    let told = claims(&mut client).await;
    assert!(told.len() == 2 && told.iter().all(|claim| claim.checked_at.is_some()), "{told:?}");
    drop((stream, resumed));
    coordinator.stop().await;

    let coordinator = stage::start(data.path(), clock).await.expect("restart");
    let mut client = FeedServiceClient::new(channel(coordinator.feed_address).await);
    let told = claims(&mut client).await;
    assert!(told.iter().all(|claim| claim.checked_at.is_none()), "nobody was asked since: {told:?}");
    let kept: Vec<_> = told.iter().filter_map(convert::claimed).collect();
    assert_eq!(kept, heard.into_iter().map(|(_, claim)| claim).collect::<Vec<_>>());
    coordinator.stop().await;
}
