//! Plays a scenario: breaks and heals the emulated internet on time, follows the feed as any subscriber would, and says
//! what happens.

use std::time::Duration;

use anyhow::{Context as _, bail};
use faultline_proto::{
    clock::Clock,
    convert,
    feed::v1::{
        FromSnapshot, GetSnapshotRequest, SubscribeRequest, SubscribeResponse, feed_event::Change,
        feed_service_client::FeedServiceClient, subscribe_request::Start, subscribe_response::Message,
    },
    types::v1::{Incident, IncidentState, Verdict, Visibility},
};
use tokio::time::{self, Instant};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::{Break, Net, Scenario, fleet::Fleet, judge::Judge, lag::Lag, net::FaultId, scenario::Way};

/// All agents must be up and warm within this time of the emulated clock.
const WARM: Duration = Duration::from_mins(3);

/// After the last truth was told, the world is watched for this long for a contradiction.
const CONTRADICTION: Duration = Duration::from_secs(10);

/// How to play.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// End as soon as the truth was told, or something else was.
    pub exit_on_verdict: bool,
    /// From the last break, the truth must be told within this time of the emulated clock.
    pub deadline: Duration,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the feed told the truth and nothing but.
    pub is_right: bool,
    /// Why not.
    pub faults: Vec<String>,
}

/// A scenario being played.
pub struct Play<'a> {
    scenario: &'a Scenario,
    net: &'a Net,
    clock: Clock,
    say: &'a mut (dyn FnMut(String) + Send),
    began: Instant,
    judge: Judge,
    /// Breaks still to come, breaks to heal.
    to_break: Vec<Break>,
    to_heal: Vec<(Duration, FaultId)>,
    broke_at: Option<Duration>,
    complete_at: Option<Duration>,
}

impl<'a> Play<'a> {
    /// Plays the scenario on a running fleet to its end, or to the verdict.
    pub async fn run(
        scenario: &'a Scenario,
        net: &'a Net,
        fleet: &mut Fleet,
        clock: Clock,
        rules: Rules,
        say: &'a mut (dyn FnMut(String) + Send),
    ) -> anyhow::Result<Outcome> {
        if !scenario.can_be_played_as(Way::Packets) {
            bail!("scenario {} can only be played as observations: no packet of the lab shows it", scenario.id);
        }
        let feed = format!("http://{}", fleet.feed_address());
        let channel = Endpoint::from_shared(feed)?.connect().await.context("the feed does not answer")?;
        let mut client = FeedServiceClient::new(channel);
        let warm = warm_up(&mut client, clock);
        let visibility = tokio::select! {
            warm = warm => warm?,
            error = fleet.agent_ended() => return Err(error),
        };
        say(format!(
            "ready   {} vantage groups live, {} outside both clouds, {} networks",
            visibility.live_groups, visibility.live_groups_outside_clouds, visibility.live_networks
        ));
        let request =
            SubscribeRequest { start: Some(Start::FromSnapshot(FromSnapshot {})), ..SubscribeRequest::default() };
        let stream = client.subscribe(request).await?.into_inner();
        // A rhythm is as many breaks as it has beats.
        let beats = |broken: &Break| {
            let spells = broken.spells(scenario.run).into_iter();
            let fault = broken.fault.clone();
            spells.map(move |(at, until)| Break { at, until, rhythm: None, fault: fault.clone() }).collect::<Vec<_>>()
        };
        let mut to_break: Vec<Break> = scenario.breaks.iter().flat_map(beats).collect();
        to_break.sort_by_key(|broken| std::cmp::Reverse(broken.at));
        let play = Self {
            scenario,
            net,
            clock,
            say,
            began: Instant::now(),
            judge: Judge::new(&scenario.truth),
            to_break,
            to_heal: Vec::new(),
            broke_at: None,
            complete_at: None,
        };
        tokio::select! {
            outcome = play.go(stream, rules) => outcome,
            error = fleet.agent_ended() => Err(error),
        }
    }

    async fn go(mut self, mut stream: Streaming<SubscribeResponse>, rules: Rules) -> anyhow::Result<Outcome> {
        let mut lag = Lag::new(self.clock);
        loop {
            self.keep_time().await?;
            let now = self.now();
            if let Some(outcome) = self.verdict(now, rules) {
                return Ok(outcome);
            }
            tokio::select! {
                message = stream.message() => match message?.context("the feed ended")?.message {
                    Some(Message::Snapshot(snapshot)) => {
                        snapshot.incidents.iter().for_each(|incident| self.hear(incident));
                    }
                    Some(Message::Event(event)) => match event.change {
                        Some(Change::Incident(incident)) => self.hear(&incident),
                        Some(Change::Visibility(visibility)) => self.see(&visibility),
                        Some(Change::Cell(_) | Change::Claim(_) | Change::Work(_)) | None => {}
                    },
                    Some(Message::Bookmark(_) | Message::Closing(_) | Message::Gap(_)) | None => {}
                },
                error = lag.too_much() => bail!(error),
                () = time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    /// Time of the emulated clock since the play began.
    fn now(&self) -> Duration {
        self.clock.since(self.began)
    }

    /// Breaks what is due, heals what is over.
    async fn keep_time(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        while let Some(broken) = self.to_break.pop_if(|broken| broken.at <= now) {
            let id = self.net.apply(&broken).await?;
            let fault = &broken.fault;
            self.tell(now, &format!("broke   {fault}"));
            self.broke_at = Some(now);
            if let Some(until) = broken.until {
                self.to_heal.push((until, id));
            }
        }
        let due: Vec<FaultId> = self.to_heal.extract_if(.., |(until, _)| *until <= now).map(|(_, id)| id).collect();
        for id in due {
            self.net.heal(id).await?;
            self.tell(now, "healed  one of the faults");
        }
        Ok(())
    }

    fn hear(&mut self, incident: &Incident) {
        let now = self.now();
        let state = match incident.state() {
            IncidentState::Suspected => "suspected ",
            IncidentState::Attributed => "attributed",
            IncidentState::Recovering => "recovering",
            IncidentState::Resolved => "resolved  ",
            IncidentState::Retracted => "retracted ",
            IncidentState::Unspecified => "unknown   ",
        };
        let (onset, half) = (self.onset_s(incident, now), incident.onset_uncertainty.as_ref());
        let half = convert::std_duration(half).unwrap_or_default().as_secs_f64();
        let (id, revision, headline) = (&incident.incident, incident.revision, &incident.headline);
        self.tell(now, &format!("{state}  {id} r{revision}  {headline} (onset +{onset:.0} s ± {half:.0} s)"));
        for alibi in &incident.alibis {
            let (party, passed, runs, groups) = (&alibi.party, alibi.passed, alibi.runs, alibi.groups);
            self.tell(
                now,
                &format!("            cleared {party}: {passed} of {runs} checks passed, {groups} vantage groups"),
            );
        }
        let told = self.judge.hear(incident);
        if told {
            let took = self.broke_at.map(|broke| now.saturating_sub(broke).as_secs_f64()).unwrap_or_default();
            let verdict = match incident.verdict() {
                Verdict::Aws => "aws",
                Verdict::Azure => "azure",
                _ => "neither",
            };
            self.tell(
                now,
                &format!(
                    "verdict  {verdict} {} {}: {took:.0} s after it broke, confidence {:.2}",
                    incident.kind, incident.element, incident.confidence
                ),
            );
        }
        if self.judge.is_complete() && !self.scenario.truth.is_empty() {
            self.complete_at.get_or_insert(now);
        }
    }

    /// The incident's onset in seconds of the play.
    fn onset_s(&self, incident: &Incident, now: Duration) -> f64 {
        let onset = convert::micros(incident.onset_at.as_ref()).unwrap_or_default();
        let began = self.clock.now_micros() - i64::try_from(now.as_micros()).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "seconds of one play")]
        let micros = (onset - began) as f64;
        micros / 1e6
    }

    fn see(&mut self, visibility: &Visibility) {
        let now = self.now();
        let (live, total) = (visibility.live_groups, visibility.total_groups);
        let text = format!("sight   {live} of {total} vantage groups live. {}", visibility.reason);
        self.tell(now, text.trim_end());
    }

    fn tell(&mut self, now: Duration, text: &str) {
        (self.say)(format!("+{:>4.0} s  {text}", now.as_secs_f64()));
    }

    /// How it went, once that is clear.
    fn verdict(&self, now: Duration, rules: Rules) -> Option<Outcome> {
        let mut faults = self.judge.wrong().to_vec();
        let is_over = now >= self.scenario.run;
        let last_break = self.scenario.breaks.iter().map(|broken| broken.at).max().unwrap_or_default();
        let late = !self.judge.is_complete() && now > last_break + rules.deadline;
        if late || (is_over && !self.judge.is_complete()) {
            faults.extend(
                self.judge.missing().iter().map(|truth| {
                    format!("not found in time: {} {} {}", truth.verdict.word(), truth.kind, truth.element)
                }),
            );
        }
        let settled = self.complete_at.is_some_and(|at| now >= at + CONTRADICTION);
        let early = rules.exit_on_verdict && (settled || late || !faults.is_empty());
        (is_over || early).then_some(Outcome { is_right: faults.is_empty(), faults })
    }
}

/// Waits until every vantage group is live.
async fn warm_up(client: &mut FeedServiceClient<Channel>, clock: Clock) -> anyhow::Result<Visibility> {
    let all_live = async {
        loop {
            let snapshot =
                client.get_snapshot(GetSnapshotRequest::default()).await?.into_inner().snapshot.unwrap_or_default();
            let visibility = snapshot.visibility.unwrap_or_default();
            if visibility.total_groups > 0 && visibility.live_groups == visibility.total_groups {
                return Ok(visibility);
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    match clock.timeout(WARM, all_live).await {
        Ok(warm) => warm,
        Err(_) => bail!("not all agents were up and warm after {} s of the emulated clock", WARM.as_secs()),
    }
}
