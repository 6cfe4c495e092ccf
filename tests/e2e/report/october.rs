//! The scenario of 29 October 2025 as its report tells it: what a fleet in the field would have got, moved to the day itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use faultline_attribution::{Change, Engine, Input, Output, Settings, Target, TargetId, Timestamp, elements_of};
use faultline_coordinator::{
    board::Board,
    counts::Run,
    feed::{
        Published,
        archive::Past,
        page::{self, Order, Told, View, asked::Asked},
        plot,
    },
    history::History,
    log::{Cursor, Entry},
    report::{Format, Material},
};
use faultline_lab::{Scenario, World, case::Case, scenario, sim};

/// When names behind Front Door began to time out.
const BROKE: &str = "2025-10-29T15:41:00Z";

/// The files stay, so that a person can look at them.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn the_report_of_29_october_names_azure_front_door_and_clears_aws() {
    let case = october();
    let engine = Engine::new(case.world.clone(), Settings::default());
    let said = sim::drive(&case, engine).into_iter().filter_map(|(_, output)| match output {
        Output::Change(change) => Some(*change),
        _ => None,
    });
    let all: Vec<Change> = said.collect();
    let incident = &all.iter().find(|change| change.element == "azure/front-door").expect("it is named").incident;
    let revisions: Vec<Change> = all.iter().filter(|change| change.incident == *incident).cloned().collect();
    let history = history(&case, &revisions);
    page_shows_it(&all, &revisions, &history, case.end);
    let material = Material::new(revisions, Some(history), case.end, "feed-of-a-test".into()).expect("revisions");
    let written = [Format::Md, Format::Html, Format::Json].map(|format| format.write(&material).expect("a report"));
    for (text, suffix) in written.iter().zip(["md", "html", "json"]) {
        fs::write(Path::new(FOLDER).join(format!("report-2025-10-29.{suffix}")), text).expect("written");
    }

    let [markdown, html, json] = written;
    for what in [
        "# Azure Front Door failed",
        "On 29 October 2025 at 15:4",
        "Azure Front Door broke: connections time out from ",
        "AWS was not affected",
        "failed at everything else on AWS",
        "connect_timeout",
    ] {
        assert!(markdown.contains(what), "no {what}: {markdown}");
    }
    assert!(!markdown.contains("AWS failed") && !markdown.contains("could not be cleared"), "{markdown}");
    assert_eq!(html.matches("<svg").count(), 3, "curve, elsewhere and latencies");
    let json: serde_json::Value = serde_json::from_str(&json).expect("json");
    let seconds = |field: &str| json[field].as_f64().unwrap_or_else(|| panic!("no {field}"));
    let onset: Timestamp = serde_json::from_value(json["onset_at"].clone()).expect("an instant");
    let broke = instant(BROKE);
    let apart = onset.since(broke).max(broke.since(onset)).as_secs_f64();
    assert!(apart <= seconds("onset_uncertainty_s").max(10.0), "the onset is {apart} s off");
    assert!(seconds("attributed_after_s") < 60.0, "named after {} s", seconds("attributed_after_s"));
    // It was broken for three minutes.
    assert!((150.0..300.0).contains(&seconds("lasted_s")), "lasted {} s", seconds("lasted_s"));
    assert_eq!(json["is_over"], true);
}

/// Its page, with the pictures.
fn page_shows_it(all: &[Change], revisions: &[Change], history: &History, now: Timestamp) {
    let mut board = Board::new("feed-of-a-test".into());
    for (change, sequence) in all.iter().zip(1..) {
        let published = Published::Incident(Box::new(change.clone()));
        board.apply(&Entry { sequence, tick: Cursor::START, published_at: change.at, published });
    }
    let figures = plot::figures(history, revisions.last().expect("revisions"));
    let past = Past { history: history.clone(), figures };
    let told = Told { revisions, past: Some(&past), order: Order::default() };
    let asked = Asked::default();
    let view = View { board: &board, agents: &[], now, asked: &asked, official_lead: None, copied: None };
    let html = page::incident(&view, &told).into_string();
    fs::write(Path::new(FOLDER).join("page-2025-10-29.html"), &html).expect("written");
    assert_eq!(html.matches("<svg class=\"plot\"").count(), 3, "{html}");
    for what in ["AWS: ", "decisive", "after the onset)", "at the height of it", "The same as numbers", "report.html"] {
        assert!(html.contains(what), "no {what}: {html}");
    }
}

fn instant(text: &str) -> Timestamp {
    serde_json::from_value(text.into()).expect("an instant")
}

/// The case, in which time goes on until all is over, moved to the day.
fn october() -> Case {
    let world = World::standard();
    let mut scenario = Scenario::find(scenario::DEFAULT, &world).expect("it is built in");
    scenario.run += Duration::from_mins(10);
    let mut case = sim::case(&world, &scenario, 1);
    let (from, to) = (case.truth[0].onset, instant(BROKE));
    let moved = |at: Timestamp| Timestamp::from_micros(at.micros() - from.micros() + to.micros());
    for (arrives, input) in &mut case.inputs {
        *arrives = moved(*arrives);
        match input {
            Input::Observation(seen) => (seen.at, seen.received_at) = (moved(seen.at), moved(seen.received_at)),
            Input::Session(session) => session.at = moved(session.at),
            Input::Distrust { since, .. } => *since = moved(*since),
            Input::World(_) | Input::Remark(_) => {}
        }
    }
    (case.start, case.end) = (moved(case.start), moved(case.end));
    case
}

/// What stays of the results, as a coordinator would keep it.
fn history(case: &Case, revisions: &[Change]) -> History {
    let mut history = History::so_far(revisions, case.end).expect("revisions");
    let names = |(id, target): (&TargetId, &Target)| {
        (id.clone(), elements_of(id, target).into_iter().map(|element| element.name).collect())
    };
    let elements: BTreeMap<TargetId, BTreeSet<String>> = case.world.targets.iter().map(names).collect();
    for (_, input) in &case.inputs {
        let Input::Observation(seen) = input else { continue };
        history.take(&Run {
            target: &seen.target,
            hosted_on: &case.world.targets[&seen.target].hosted_on,
            elements: elements.get(&seen.target),
            group: &case.world.vantages[&seen.agent].group,
            at: seen.at,
            ended: seen.outcome.into(),
            took: seen.took.unwrap_or_default(),
        });
    }
    history
}
