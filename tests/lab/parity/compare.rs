//! Judges a case: what the two tell, series by series, against what is declared.
//!
//! Rules: times are alike when they are of one order of size, where all that is below `FLOOR_S` is one; the phases of a probe of
//! the agent's add up to its duration; all other values are equal to the last bit.

use super::{
    case::{Case, Catalog, Occurs, Teller, Version},
    text::{Series, Told},
};

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which.
    pub name: String,
    /// What the exporter told; `None` where it cannot play the case.
    pub blackbox: Option<Seen>,
    /// What the agent told.
    pub agent: Seen,
    /// Layer and cause that the agent told.
    pub failure: Option<String>,
    /// Ids of the differences that occurred.
    pub differences: Vec<String>,
    /// What is not as declared; none where all is well.
    pub wrong: Vec<String>,
}

impl Judged {
    /// Whether both played it, and told the same but for `common` differences.
    pub(super) fn is_equal(&self, common: impl Fn(&str) -> bool) -> bool {
        self.blackbox.is_some() && self.wrong.is_empty() && self.differences.iter().all(|id| common(id))
    }
}

/// The gist of what one told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Whether it is a success.
    pub is_success: bool,
    /// How long it took.
    pub seconds: f64,
}

/// One series that is not told alike.
struct Mismatch<'a> {
    series: &'a Series,
    teller: Teller,
    said: String,
}

/// Judges what was told of the case.
pub(super) fn judge(catalog: &Catalog, case: &Case, version: Version, theirs: Option<&Told>, ours: &Told) -> Judged {
    let mut judged = Judged {
        name: case.name.clone(),
        blackbox: theirs.map(seen),
        agent: seen(ours),
        failure: failure(ours),
        differences: Vec::new(),
        wrong: Vec::new(),
    };
    if judged.failure != case.failure {
        let word = |failure: &Option<String>| failure.clone().unwrap_or_else(|| "none".to_owned());
        judged.wrong.push(format!("failure_info {}, not {}", word(&judged.failure), word(&case.failure)));
    }
    if judged.agent.is_success != judged.failure.is_none() {
        judged.wrong.push(format!("the agent's success is {}", judged.agent.is_success));
    }
    judged.wrong.extend(unaccounted(ours));
    let Some(theirs) = theirs else { return judged };
    for mismatch in mismatches(theirs, ours, version) {
        let explains = |teller: Teller, name: &str| {
            let known = catalog.differences_of(case, version);
            let known = known.filter(|known| known.told_by == teller && known.speaks_of(name));
            // What the case names is closer than what holds anywhere.
            known.min_by_key(|known| known.occurs != Occurs::Named).map(|known| known.id.clone())
        };
        match explains(mismatch.teller, &mismatch.series.name) {
            Some(id) if judged.differences.contains(&id) => {}
            Some(id) => judged.differences.push(id),
            None => judged.wrong.push(mismatch.said),
        }
    }
    for id in &case.differs {
        let is_of = |id: &String| catalog.differences.iter().any(|known| known.id == *id && known.is_of(version));
        if is_of(id) && !judged.differences.contains(id) {
            judged.wrong.push(format!("declared and not seen: {id}"));
        }
    }
    judged
}

fn mismatches<'a>(theirs: &'a Told, ours: &'a Told, version: Version) -> Vec<Mismatch<'a>> {
    let mut found = Vec::new();
    for (series, value) in ours {
        let told = theirs.iter().find(|(other, _)| is_same(other, series, version));
        match told {
            None => {
                let (teller, who) = match only(theirs, series).and(only(ours, series)) {
                    Some(_) => (Teller::Both, "other labels than blackbox's"),
                    None => (Teller::Agent, "the agent alone"),
                };
                found.push(Mismatch { series, teller, said: format!("{who}: {series} {value}") });
            }
            Some((_, other)) if !is_alike(series, *other, *value) => {
                let said = format!("{series}: blackbox {other}, agent {value}");
                found.push(Mismatch { series, teller: Teller::Both, said });
            }
            Some((other, _)) if other.labels != series.labels => {
                let said = format!("other labels than blackbox's: {series}");
                found.push(Mismatch { series, teller: Teller::Both, said });
            }
            Some(_) => {}
        }
    }
    for (series, value) in theirs {
        let is_told = ours.keys().any(|other| is_same(series, other, version));
        if !is_told && only(theirs, series).and(only(ours, series)).is_none() {
            let said = format!("blackbox alone: {series} {value}");
            found.push(Mismatch { series, teller: Teller::Blackbox, said });
        }
    }
    found
}

/// The only series of that name.
fn only<'a>(told: &'a Told, series: &Series) -> Option<&'a Series> {
    let mut named = told.keys().filter(|other| other.name == series.name);
    named.next().filter(|_| named.next().is_none())
}

/// Whether it is the same series; older exporters do not tell serial numbers.
fn is_same(theirs: &Series, ours: &Series, version: Version) -> bool {
    if theirs.name == ours.name && version < WITH_SERIAL_NUMBERS {
        let mut labels = ours.labels.clone();
        labels.remove("serialnumber");
        return labels == theirs.labels;
    }
    theirs == ours
}

fn is_alike(series: &Series, theirs: f64, ours: f64) -> bool {
    if !is_time(&series.name) {
        return theirs.to_bits() == ours.to_bits();
    }
    let is_step = series.labels.get("phase").is_some_and(|phase| STEPS.contains(&phase.as_str()));
    let is_reached = |seconds: f64| seconds > LEAST_S;
    let is_phase_alike = !is_step || is_reached(theirs) == is_reached(ours) || theirs.max(ours) < REACHED_S;
    let (low, high) = (theirs.min(ours), theirs.max(ours));
    low >= 0.0 && is_phase_alike && high / low.max(FLOOR_S) <= ORDER
}

fn is_time(metric: &str) -> bool {
    metric.ends_with("_duration_seconds") || metric == "probe_dns_lookup_time_seconds"
}

/// What is wrong with the agent's account of its time.
fn unaccounted(ours: &Told) -> Option<String> {
    let mut phases = ours.iter().filter(|(series, _)| series.labels.contains_key("phase")).peekable();
    phases.peek()?;
    let sum: f64 = phases.map(|(_, value)| *value).sum();
    let Seen { is_success, seconds: total } = seen(ours);
    let is_wrong = sum > total + SLACK_S || (is_success && sum < total * (1.0 - SLACK) - SLACK_S);
    is_wrong.then(|| format!("the agent's phases are {sum:.6} s of {total:.6} s"))
}

fn seen(told: &Told) -> Seen {
    let value = |name: &str| told.iter().find(|(series, _)| series.name == name).map_or(0.0, |(_, value)| *value);
    Seen { is_success: value("probe_success") > 0.0, seconds: value("probe_duration_seconds") }
}

fn failure(ours: &Told) -> Option<String> {
    let (series, _) = ours.iter().find(|(series, _)| series.name == "probe_failure_info")?;
    let label = |name: &str| series.labels.get(name).cloned().unwrap_or_default();
    Some(format!("{}/{}", label("layer"), label("cause")))
}

/// First exporter that labels certificates with them. Source: its changes.
const WITH_SERIAL_NUMBERS: Version = Version(0, 26);
/// Phases that a probe reaches or not; the others may take no time at all, of a literal address or a body that came with its head.
const STEPS: [&str; 4] = ["connect", "tls", "processing", "request"];
/// A phase below this was not reached: clocks count microseconds.
const LEAST_S: f64 = 0.000_001;
/// A phase above this was reached. Source: start value; a handshake with certificates takes twice as long and more.
const REACHED_S: f64 = 0.000_5;
/// Times below this are of one size. Source: start value; what a busy machine makes of some microseconds.
const FLOOR_S: f64 = 0.05;
/// Times are of one order of size within this ratio.
const ORDER: f64 = 10.0;
/// Of a probe, what no phase has. Source: the agent's own rule for its phases.
const SLACK: f64 = 0.01;
/// Beside that: patterns are looked for after the last phase. Source: start value.
const SLACK_S: f64 = 0.003;

#[cfg(test)]
mod tests {
    use super::{super::text::read, *};

    fn judged(differs: &str, theirs: &str, ours: &str) -> Vec<String> {
        let tables = format!(
            "[[difference]]\nid = \"d\"\nmetric = [\"probe_x\"]\ntold_by = \"agent\"\nreason = \"\"\n\
             [[case]]\nname = \"c\"\ntarget = \"\"\nmodule = \"\"\n{differs}"
        );
        let catalog: Catalog = toml::from_str(&tables).expect("a table");
        let told = |text: &str| read(&format!("probe_success 1\n{text}")).expect("series");
        judge(&catalog, &catalog.cases[0], Version(0, 28), Some(&told(theirs)), &told(ours)).wrong
    }

    #[test]
    fn what_is_told_alike_holds() {
        let alike = ("probe_duration_seconds 0.001\nprobe_y 3\n", "probe_duration_seconds 0.004\nprobe_y 3\n");
        assert_eq!(judged("", alike.0, alike.1), Vec::<String>::new());
    }

    #[test]
    fn an_undeclared_difference_fails() {
        for (theirs, ours) in [
            ("", "probe_x 1\n"),
            ("probe_y 1\n", ""),
            ("probe_y 1\n", "probe_y 2\n"),
            ("probe_y{a=\"1\"} 1\n", "probe_y{a=\"2\"} 1\n"),
            ("probe_duration_seconds 0.001\n", "probe_duration_seconds 1\n"),
        ] {
            assert!(!judged("", theirs, ours).is_empty(), "{theirs:?} {ours:?}");
        }
    }

    #[test]
    fn a_declared_difference_must_occur() {
        let declared = "differs = [\"d\"]\n";
        assert!(judged(declared, "", "probe_x 1\n").is_empty());
        assert_eq!(judged(declared, "", ""), ["declared and not seen: d"]);
    }

    #[test]
    fn time_that_no_phase_has_fails() {
        let phases = "probe_duration_seconds 1\nprobe_http_duration_seconds{phase=\"connect\"} 0.9\n";
        assert_eq!(judged("", phases, phases), ["the agent's phases are 0.900000 s of 1.000000 s"]);
    }

    #[test]
    fn a_failure_is_the_declared_one() {
        let failed = "probe_failure_info{cause=\"c\",layer=\"l\"} 1\n";
        assert!(judged("failure = \"l/c\"\n", "", failed).iter().any(|wrong| wrong.contains("success is true")));
        assert!(judged("failure = \"l/d\"\n", "", failed).iter().any(|wrong| wrong == "failure_info l/c, not l/d"));
    }
}
