//! Cases and differences, as the tables in `cases/` have them.
//!
//! ```toml
//! [[difference]]
//! id = "cause"
//! metric = "probe_failure_info"            # all series of this name, or of one that begins so where it ends in *
//! told_by = "agent"                        # agent, blackbox, or both: with other values
//! reason = "Why this is better, or why it cannot be equal."
//! occurs = "anywhere"                      # failed: in cases that fail; perhaps: or in none; else in those that name it
//! since = "0.26"                           # only of such exporters, and newer
//! before = "0.28"                          # only of older ones
//!
//! [[case]]
//! name = "http-404"
//! target = "http://{pages}/404"            # braces: a server, see `servers`
//! module = "prober: http"
//! failure = "http/http_status"             # layer and cause that the agent tells; none: it passes
//! differs = []
//! ```
//!
//! Rules: names are unique; `differs` names differences that exist; a case that needs a newer exporter says `since`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::Deserialize;

use super::{ParityError, compare::Judged};

/// All cases, and all differences.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// In the order in which they are played.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
    /// In the order in which they are told.
    #[serde(default, rename = "difference")]
    pub differences: Vec<Difference>,
}

/// One look at one server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Of the case, and of its module.
    pub name: String,
    /// As `/probe?target=` has it; servers in braces.
    pub target: String,
    /// As `/probe?hostname=` has it.
    pub hostname: Option<String>,
    /// The module in YAML, but for its timeout.
    pub module: String,
    /// Its timeout.
    #[serde(default = "timeout")]
    pub timeout: String,
    /// Layer and cause that the agent tells, with a slash between them; `None` where it passes.
    pub failure: Option<String>,
    /// Differences that occur here, and must.
    #[serde(default)]
    pub differs: Vec<String>,
    /// First version of the exporter that knows the module's fields; the agent alone is judged beside an older one.
    pub since: Option<Version>,
}

/// What the two tell differently, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Its name.
    pub id: String,
    /// Names of the series.
    pub metric: Vec<String>,
    /// Who tells it.
    pub told_by: Teller,
    /// Why.
    pub reason: String,
    /// Where.
    #[serde(default)]
    pub occurs: Occurs,
    /// First version of the exporter of which it holds.
    pub since: Option<Version>,
    /// First version of the exporter of which it does not hold.
    pub before: Option<Version>,
}

/// Who tells a series.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Teller {
    /// The agent alone.
    Agent,
    /// The exporter alone.
    Blackbox,
    /// Both, with other values.
    Both,
}

/// Where a difference occurs.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Occurs {
    /// In the cases that name it: in each of them.
    #[default]
    Named,
    /// In whatever case it occurs.
    Anywhere,
    /// In whatever case fails.
    Failed,
    /// In whatever case, or in none: it takes a busy machine to see it.
    Perhaps,
}

/// Of the exporter: major and minor.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Version(pub u32, pub u32);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(format!("{text:?} is no version as 0.28 is")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Catalog {
    /// The cases that are compiled in.
    pub fn built_in() -> Result<Self, ParityError> {
        Self::parse(&[DIFFERENCES, HTTP, REDIRECTS, TLS, TCP, DNS, RECORDS, HTTP3])
    }

    fn parse(tables: &[&str]) -> Result<Self, ParityError> {
        let mut catalog = Self::default();
        for table in tables {
            let read: Self = toml::from_str(table).map_err(|error| ParityError::Cases(error.to_string()))?;
            catalog.cases.extend(read.cases);
            catalog.differences.extend(read.differences);
        }
        let mut names = BTreeSet::new();
        let all = catalog.cases.iter().map(|case| &case.name).chain(catalog.differences.iter().map(|known| &known.id));
        if let Some(twice) = all.into_iter().find(|name| !names.insert(*name)) {
            return Err(ParityError::Cases(format!("{twice:?} is there twice")));
        }
        let known = |id: &&String| catalog.differences.iter().any(|difference| difference.id == **id);
        let declared = catalog.cases.iter().flat_map(|case| &case.differs);
        match declared.filter(|id| !known(id)).min() {
            Some(unknown) => Err(ParityError::Cases(format!("no difference {unknown:?}"))),
            None => Ok(catalog),
        }
    }

    /// The differences that may occur in the case, beside an exporter of this version.
    pub(super) fn differences_of<'a>(
        &'a self,
        case: &'a Case,
        version: Version,
    ) -> impl Iterator<Item = &'a Difference> {
        let holds = move |difference: &&Difference| match difference.occurs {
            Occurs::Named => case.differs.contains(&difference.id),
            Occurs::Anywhere | Occurs::Perhaps => true,
            Occurs::Failed => case.failure.is_some(),
        };
        self.differences.iter().filter(move |difference| difference.is_of(version)).filter(holds)
    }

    /// The difference of this name.
    pub(super) fn difference(&self, id: &str) -> Option<&Difference> {
        self.differences.iter().find(|known| known.id == id)
    }

    /// Differences that no case showed.
    pub(super) fn unused(&self, judged: &[Judged], version: Version) -> Vec<String> {
        let occurred = |id: &String| judged.iter().any(|judged| judged.differences.contains(id));
        let expected = self.differences.iter().filter(|difference| difference.is_of(version));
        let unused = expected.filter(|difference| !occurred(&difference.id));
        // What cases name is said of the case.
        let unused = unused.filter(|difference| !matches!(difference.occurs, Occurs::Named | Occurs::Perhaps));
        unused.map(|difference| difference.id.clone()).collect()
    }
}

impl Case {
    /// Whether an exporter of this version can play it.
    pub fn is_known_to(&self, version: Version) -> bool {
        self.since.is_none_or(|since| version >= since)
    }
}

impl Difference {
    pub(super) fn is_of(&self, version: Version) -> bool {
        self.since.is_none_or(|since| version >= since) && self.before.is_none_or(|before| version < before)
    }

    /// Whether it speaks of series of this name.
    pub(super) fn speaks_of(&self, metric: &str) -> bool {
        self.metric.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => metric.starts_with(beginning),
            None => known == metric,
        })
    }
}

/// Source: start value; longer than any answer on loopback takes, however busy the machine is.
fn timeout() -> String {
    "5s".to_owned()
}

const DIFFERENCES: &str = include_str!("cases/differences.toml");
const HTTP: &str = include_str!("cases/http.toml");
const REDIRECTS: &str = include_str!("cases/redirects.toml");
const TLS: &str = include_str!("cases/tls.toml");
const TCP: &str = include_str!("cases/tcp.toml");
const DNS: &str = include_str!("cases/dns.toml");
const RECORDS: &str = include_str!("cases/records.toml");
const HTTP3: &str = include_str!("cases/http3.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_cases_are_at_least_forty_and_of_every_layer() {
        let catalog = Catalog::built_in().expect("sound tables");
        assert!(catalog.cases.len() >= 40);
        for kind in ["http-", "redirect-", "tls-", "tcp-", "dns-", "record-", "http2-", "http3-"] {
            assert!(catalog.cases.iter().any(|case| case.name.starts_with(kind)), "{kind}");
        }
    }

    #[test]
    fn what_is_there_twice_or_names_nothing_is_refused() {
        let case = "[[case]]\nname = \"a\"\ntarget = \"\"\nmodule = \"\"\n";
        assert!(Catalog::parse(&[case]).is_ok());
        assert!(Catalog::parse(&[case, case]).is_err());
        assert!(Catalog::parse(&[&format!("{case}differs = [\"b\"]\n")]).is_err());
    }
}
