//! The parts of a report, in the order in which a reader asks: what happened when, who was hit, how we know, how sure we are,
//! what we said at the time, what others said, and how all this was measured.

use std::collections::BTreeSet;

use faultline_attribution::{Change, EvidenceRow, State, Verdict, element::brand};

use super::{
    Block, Said, Section,
    story::Story,
    words::{self, capital, listed, span},
};
use crate::{
    feed::{
        page::words as page,
        plot::{self, Table, curve, elsewhere},
    },
    history::{GroupShare, History},
};

/// Steps of the curve that a reader of text takes in.
const COMPACT: usize = 24;

/// Rows of a table before it is cut; what is cut off is counted under it, and all of it stands in the JSON form.
const ROWS: usize = 40;

/// All of them.
pub(super) fn all(story: &Story<'_>) -> Vec<Section> {
    vec![timeline(story), affected(story), evidence(story), doubts(story), revisions(story), said(story), method(story)]
}

fn table(caption: &str, heads: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { caption: caption.into(), heads: heads.iter().map(|head| (*head).to_owned()).collect(), rows }
}

/// A table, and what was cut off its end.
fn cut(mut table: Table, what: &str) -> Vec<Block> {
    let more = table.rows.len().saturating_sub(ROWS);
    table.rows.truncate(ROWS);
    let mut blocks = vec![Block::Table(table)];
    if more > 0 {
        blocks.push(Block::Text(format!("{} more; the JSON form of this report has all.", page::count(more, what))));
    }
    blocks
}

fn timeline(story: &Story<'_>) -> Section {
    let onset = story.onset();
    let culprit = story.culprit().unwrap_or_else(|| "Something".into());
    let give_or_take = format!("± {} s", story.last.onset_uncertainty_s);
    let mut rows = vec![(
        onset,
        give_or_take,
        format!("{} breaks (estimated from when results began to fail).", capital(&culprit)),
    )];
    let mut before: Option<&Change> = None;
    for change in &story.material.revisions {
        let is_news = before.is_none_or(|before| {
            (before.state, before.verdict, &before.element) != (change.state, change.verdict, &change.element)
        });
        if is_news {
            rows.push((change.at, words::from_onset(change.at, onset), told(change, before)));
        }
        before = Some(change);
    }
    for said in story.material.said.iter().flatten() {
        rows.push((said.at, words::from_onset(said.at, onset), format!("{}: {}", said.who, said.what)));
    }
    for work in &story.material.work {
        let (begins, ends) = (work.starts_at, work.over_at());
        let elements = if work.elements.is_empty() { String::new() } else { format!(" ({})", listed(&work.elements)) };
        let what = format!("Planned work{elements} begins: {}", work.text);
        rows.push((begins, words::from_onset(begins, onset), what));
        if ends <= story.material.made_at {
            let how = if work.cancelled_at.is_some() { "is called off" } else { "ends" };
            rows.push((ends, words::from_onset(ends, onset), format!("Planned work {how}: {}", work.text)));
        }
    }
    for note in &story.last.notes {
        let link = if note.link.is_empty() { String::new() } else { format!(" ({})", note.link) };
        rows.push((note.at, words::from_onset(note.at, onset), format!("Note: {}{link}", note.text)));
    }
    rows.sort_by_key(|(at, ..)| *at);
    if story.is_open() {
        rows.push((story.material.made_at, words::from_onset(story.material.made_at, onset), "It goes on.".into()));
    }
    let rows = rows.into_iter().map(|(at, after, what)| vec![story.time(at), after, what]).collect();
    let last = story.last;
    let mut spans = vec![format!("Noticed: {} after the onset.", span(last.opened_at.since(onset)))];
    spans.extend(last.attributed_at.map(|at| format!("Attributed: {} after the onset.", span(at.since(onset)))));
    if last.state != State::Retracted {
        let still = if story.is_open() { " so far" } else { ", from the onset until failures had fallen back" };
        spans.push(format!("Lasted: {}{still}.", span(story.lasted())));
    }
    if let Some(at) = last.resolved_at.filter(|_| last.state == State::Resolved) {
        spans.push(format!(
            "Called over: {} after the onset, when it had stayed quiet for a while.",
            span(at.since(onset))
        ));
    }
    spans.extend(story.lead().map(|lead| format!("Attributed {lead}.")));
    Section {
        title: "What happened when",
        blocks: vec![Block::Table(table("Times in UTC", &["Time", "From onset", "What"], rows)), Block::List(spans)],
    }
}

/// What a revision was news of.
fn told(change: &Change, before: Option<&Change>) -> String {
    let lead = match change.state {
        State::Suspected if before.is_none() => "Faultline notices",
        State::Suspected => "Faultline takes the name back and suspects",
        State::Attributed if before.is_some_and(|before| before.state == State::Recovering) => "It fails again",
        State::Attributed if before.is_some_and(|before| before.verdict != Verdict::Undetermined) => {
            "Faultline corrects the verdict"
        }
        State::Attributed => "Faultline names the culprit",
        State::Recovering => "Failures fall back",
        State::Resolved => "Resolved",
        State::Retracted => "Faultline retracts",
    };
    let mut parts = match change.state {
        // Its headline goes on saying what it recovers from.
        State::Recovering => vec![format!("{lead} to what is usual.")],
        _ => vec![format!("{lead}: {}", change.headline)],
    };
    if change.verdict != Verdict::Undetermined && change.state == State::Attributed {
        parts.push(format!("Confidence {}.", page::probability(change.confidence)));
    }
    if !change.superseded_by.is_empty() {
        parts.push(format!("Folded into {}.", change.superseded_by));
    }
    parts.join(" ")
}

fn affected(story: &Story<'_>) -> Section {
    let telling = story.telling;
    let mut blocks = Vec::new();
    let regions =
        if telling.regions.is_empty() { "everywhere, or of no region".to_owned() } else { telling.regions.join(", ") };
    let mut hit = Vec::new();
    if let (Some(culprit), Some(kind)) = (story.culprit(), story.last.element_kind) {
        hit.push(format!("Culprit: {culprit} ({}, {kind}).", story.last.element));
    }
    if let Some(kind) = story.last.kind {
        hit.push(format!("Neither cloud: {kind}."));
    }
    hit.push(format!("Regions: {regions}."));
    hit.push(format!(
        "Seen failing from {} of {} that looked, at the layer {}: {}.",
        telling.failing_groups,
        page::count(telling.total_groups as usize, "vantage group"),
        page::layer(telling.layer),
        story.symptom()
    ));
    let targets: BTreeSet<&str> =
        story.material.revisions.iter().flat_map(|change| &change.evidence).map(|row| row.target.as_str()).collect();
    if !targets.is_empty() {
        let named: Vec<String> = targets.iter().take(12).map(|target| (*target).to_owned()).collect();
        let more = targets.len().saturating_sub(named.len());
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        hit.push(format!("What was probed and failed: {}{rest}.", named.join(", ")));
    }
    blocks.push(Block::Text("Affected:".into()));
    blocks.push(Block::List(hit));
    blocks.push(Block::Text("Not affected:".into()));
    blocks.push(Block::List(alibis(story)));
    Section { title: "Who was affected, and who was not", blocks }
}

/// Who is cleared and by what, in words; and who is not.
fn alibis(story: &Story<'_>) -> Vec<String> {
    let whose = if story.is_vantage_side() { "other" } else { "same" };
    let cleared = story.telling.alibis.iter().map(|alibi| {
        let strength = if alibi.nats > 0.0 {
            format!(" As evidence that it was well this is {} ({:.0} nats).", page::strength(alibi.nats), alibi.nats)
        } else {
            String::new()
        };
        format!(
            "{}: in the same minutes the {whose} {} made {} of it that got as far as {}, and {} passed.{strength}",
            brand(&alibi.party),
            page::count(alibi.groups as usize, "vantage group"),
            page::count(alibi.runs as usize, "check"),
            page::layer(alibi.layer),
            alibi.passed,
        )
    });
    let open = story.uncleared();
    let open = open
        .iter()
        .map(|cloud| format!("{}: not accused, but too few checks speak for it to clear it.", page::verdict(*cloud)));
    let mut all: Vec<String> = cleared.chain(open).collect();
    if all.is_empty() {
        all.push("Nobody is cleared: while nobody is accused there is nobody to clear.".into());
    }
    all
}

/// What each vantage group saw.
fn places(history: &History) -> Vec<Block> {
    let cell = |(failed, runs): (u64, u64)| if runs == 0 { "-".into() } else { format!("{failed} of {runs}") };
    let row = |group: &GroupShare<'_>| vec![group.group.to_owned(), cell(group.before), cell(group.after)];
    let rows: Vec<Vec<String>> = history.groups().iter().map(row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let caption = "Runs that failed at the incident's targets, by vantage group, those that saw most of it first";
    cut(
        table(caption, &["Vantage group", "In the minutes before", "From the onset to when it was called over"], rows),
        "vantage group",
    )
}

fn evidence(story: &Story<'_>) -> Section {
    let telling = story.telling;
    let mut blocks = Vec::new();
    match story.history() {
        Some(history) => {
            for figure in plot::figures(history, story.last) {
                let compact = match figure.id {
                    "curve" => curve::bars(&history.curve(COMPACT)),
                    "elsewhere" => elsewhere::numbers(history, COMPACT),
                    _ => figure.numbers.clone(),
                };
                blocks.push(Block::Picture(Box::new(figure), compact));
            }
        }
        None => blocks.push(Block::Text("No result of those minutes is left to draw.".into())),
    }
    let controls = match telling.control_failing_groups {
        0 => format!(
            "Control: of the {} that saw it fail, none had most of its controls (targets on neither cloud) fail too; so \
             it was not their own way to the internet.",
            page::count(telling.failing_groups as usize, "vantage group")
        ),
        failing => format!(
            "Control: of the {} that saw it fail, {failing} had most of their controls (targets on neither cloud) fail too; \
             those prove little by themselves.",
            page::count(telling.failing_groups as usize, "vantage group")
        ),
    };
    blocks.push(Block::Text(controls));
    let (failed, runs) = telling
        .evidence
        .iter()
        .fold((0_u64, 0_u64), |(failed, runs), row| (failed + u64::from(row.failed), runs + u64::from(row.runs)));
    if telling.evidence.is_empty() {
        blocks.push(Block::Text("No row of evidence is kept.".into()));
    } else {
        blocks.push(Block::Text(format!(
            "Evidence as published in revision {}, the strongest {}: {failed} of {} failed. The weight of a row says by \
             how much it favours the verdict over no fault; 4.6 nats are odds of 100 to 1.",
            telling.revision,
            page::count(telling.evidence.len(), "row"),
            page::count(usize::try_from(runs).unwrap_or(usize::MAX), "run"),
        )));
        let mut strongest: Vec<&EvidenceRow> = telling.evidence.iter().collect();
        strongest.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let rows = strongest.into_iter().map(|row| {
            vec![
                row.group.clone(),
                row.target.clone(),
                page::layer(row.layer).to_owned(),
                row.cause_word().to_owned(),
                format!("{} of {}", row.failed, row.runs),
                format!("{:.1} nats", row.weight),
            ]
        });
        let heads = ["Vantage group", "Target", "Layer", "Cause", "Failed", "Weight"];
        blocks.extend(cut(table("Strongest rows first", &heads, rows.collect()), "row"));
    }
    blocks.extend(story.history().map(places).unwrap_or_default());
    Section { title: "How we know", blocks }
}

fn doubts(story: &Story<'_>) -> Section {
    let telling = story.telling;
    let of = &telling.probabilities;
    let answers = [("AWS", of.aws), ("Azure", of.azure), ("neither of them", of.neither), ("nothing wrong", of.none)];
    let rows = answers.map(|(answer, probability)| vec![answer.to_owned(), page::probability(probability)]).into();
    let mut blocks = vec![Block::Table(table("Probability of each answer", &["Answer", "Probability"], rows))];
    if !telling.suspects.is_empty() {
        blocks.push(Block::Text("Candidates, none of them accused:".into()));
        let suspects = telling.suspects.iter();
        let named = suspects.map(|suspect| format!("{}: {:.0} %", suspect.element, suspect.probability * 100.0));
        blocks.push(Block::List(named.collect()));
    }
    if !telling.undetermined_reason.is_empty() {
        blocks.push(Block::Text(format!("Why nobody was accused: {}.", telling.undetermined_reason)));
    }
    if telling.caveats.is_empty() {
        blocks.push(Block::Text("No other explanation came near enough to be named.".into()));
    } else {
        blocks.push(Block::Text("What would change our mind:".into()));
        blocks.push(Block::List(telling.caveats.iter().map(|caveat| format!("{}.", capital(caveat))).collect()));
    }
    blocks.push(Block::Text(
        "What we cannot see: accounts, quotas, control planes behind a login, data, and whatever works slowly but works. \
         Faultline sees whether names resolve, connections open, TLS completes and HTTP answers, from its vantages."
            .into(),
    ));
    Section { title: "How sure, and what would change our mind", blocks }
}

fn revisions(story: &Story<'_>) -> Section {
    let row = |change: &Change| {
        let confidence = match change.verdict {
            Verdict::Undetermined => "-".into(),
            _ => page::probability(change.confidence),
        };
        vec![
            change.revision.to_string(),
            story.time(change.at),
            change.state.to_string(),
            page::verdict(change.verdict).to_owned(),
            confidence,
            format!("{} of {}", change.failing_groups, change.total_groups),
            change.headline.clone(),
        ]
    };
    let heads = ["Revision", "Published", "State", "Verdict", "Confidence", "Groups", "Headline"];
    let rows = story.material.revisions.iter().map(row).collect();
    let mut blocks = cut(table("Everything that was published, as it was published", &heads, rows), "revision");
    let missing = story.last.revision.saturating_sub(u64::try_from(story.material.revisions.len()).unwrap_or(u64::MAX));
    if missing > 0 {
        blocks.push(Block::Text(format!("{missing} revisions in between are not at hand.")));
    }
    Section { title: "What we said at the time", blocks }
}

fn said(story: &Story<'_>) -> Section {
    let blocks = match &story.material.said {
        None => vec![Block::Text("Nobody recorded what others said of it.".into())],
        Some(said) if said.is_empty() => vec![Block::Text("Nobody else said anything of it that reached us.".into())],
        Some(said) => {
            let row = |said: &Said| {
                vec![
                    story.time(said.at),
                    words::from_onset(said.at, story.onset()),
                    said.who.clone(),
                    said.what.clone(),
                ]
            };
            let rows = said.iter().map(row).collect();
            let mut blocks = cut(table("Times in UTC", &["Time", "From onset", "Who", "What"], rows), "statement");
            blocks.push(Block::Text("None of this is an input to the verdict.".into()));
            blocks
        }
    };
    Section { title: "What others said, and when", blocks }
}

fn method(story: &Story<'_>) -> Section {
    let material = story.material;
    let engines: BTreeSet<u32> = material.revisions.iter().map(|change| change.engine).collect();
    let engines: Vec<String> = engines.iter().map(u32::to_string).collect();
    let made = format!(
        "Incident {}, from feed {}, as of {}. Faultline {}, engine {}.",
        story.last.incident,
        material.feed_id,
        story.time(material.made_at),
        material.faultline,
        listed(&engines),
    );
    let how = "Agents in many networks probe endpoints on AWS, on Azure and on neither, layer by layer: DNS, connect (TCP or \
               QUIC), TLS, HTTP. Agents behind one network or host are one vantage group and count as one witness. A verdict \
               needs several groups, some of them outside the accused cloud; the control is targets on neither cloud, seen by \
               the same groups in the same minutes. An onset is an estimate of when the world broke, not of when we noticed. \
               Confidence is the probability that the engine gave its verdict: HIGH from 0.95, MEDIUM from 0.8, else LOW. \
               Crowd reports and status pages never move a verdict.";
    Section { title: "How this was measured", blocks: vec![Block::Text(how.into()), Block::Text(made)] }
}
