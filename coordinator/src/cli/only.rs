//! What somebody asks about: verdicts, and elements with all that is beneath them.
//!
//! A word is a verdict (`aws`, `azure`, `neither`, `undetermined`) or an element (`azure/front-door`, `aws/us-east-1/dynamodb`).
//! Rules: an element stands for itself, for what is beneath it and for what it is part of; `*` in the name of an incident's
//! element is any name (`azure/*/blob` touches `azure/eastus`); while nobody is accused the suspects count.

use std::{fmt, str::FromStr};

use faultline_proto::types::v1::{Incident, Verdict};

use super::subscriber;
use crate::feed::filter::overlap;

/// One thing asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted(String);

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.trim().trim_end_matches('/').to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "/-_.:~*".contains(c);
        if word.is_empty() || !word.chars().all(is_name) || word.split('/').any(str::is_empty) {
            return Err(format!("{text:?} is no verdict and no element, as in aws, neither, azure/front-door"));
        }
        Ok(Self(word))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Wanted {
    /// The word.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the incident is about it.
    pub(super) fn touches(&self, incident: &Incident) -> bool {
        if self.0 == subscriber::verdict(incident) {
            return true;
        }
        let is_open_question = matches!(incident.verdict(), Verdict::Undetermined | Verdict::Unspecified);
        let suspects = incident.suspects.iter().filter(|_| is_open_question).map(|suspect| suspect.element.as_str());
        suspects
            .chain([incident.element.as_str()])
            .chain(incident.regions.iter().map(String::as_str))
            .any(|element| self.is_of(element))
    }

    /// Whether the element is it, beneath it, above it, or leads to it.
    pub(super) fn is_of(&self, element: &str) -> bool {
        !element.is_empty() && overlap(&self.0, element)
    }
}

/// Whether any of it is about the incident; nothing asked is everything.
pub(super) fn any_touches(wanted: &[Wanted], incident: &Incident) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted.touches(incident))
}

#[cfg(test)]
mod tests {
    use faultline_proto::types::v1::Suspect;

    use super::*;

    fn wanted(word: &str) -> Wanted {
        word.parse().expect("a word")
    }

    #[test]
    fn a_word_is_a_verdict_or_the_name_of_an_element() {
        assert_eq!(wanted(" AWS/us-east-1/ ").as_str(), "aws/us-east-1");
        for wrong in ["", "/", "aws//x", "aws us-east-1", "aws\u{1b}"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_element_stands_for_what_is_beneath_and_above_it() {
        let rows = [
            ("azure/front-door", "azure/front-door", true),
            ("azure/front-door", "azure/front-door/eu", true),
            ("azure/front-door/eu", "azure/front-door", true),
            ("azure/front", "azure/front-door", false),
            ("aws/us-east-1", "aws/us-east-1/dynamodb", true),
            ("aws/us-east-1/s3", "aws/us-east-1/dynamodb", false),
            ("azure/eastus", "azure/*/blob", true),
            ("azure/eastus/blob", "azure/*/blob", true),
            ("azure/eastus/sql", "azure/*/blob", false),
            ("aws/us-east-1", "as13335~aws/us-east-1", true),
            ("aws/us-east-1", "azure/eastus", false),
            ("aws/us-east-1", "", false),
        ];
        for (word, element, touches) in rows {
            assert_eq!(wanted(word).is_of(element), touches, "{word} and {element:?}");
        }
    }

    #[test]
    fn suspects_count_only_while_nobody_is_accused() {
        let suspects = vec![Suspect { element: "azure/front-door".into(), probability: 0.6 }];
        let mut incident = Incident { suspects, ..Incident::default() };
        incident.set_verdict(Verdict::Undetermined);
        assert!(wanted("azure/front-door").touches(&incident) && wanted("undetermined").touches(&incident));
        incident.set_verdict(Verdict::Neither);
        incident.element = "cdn/fastly".into();
        assert!(!wanted("azure/front-door").touches(&incident));
        assert!(wanted("neither").touches(&incident) && wanted("cdn/fastly").touches(&incident));
    }
}
