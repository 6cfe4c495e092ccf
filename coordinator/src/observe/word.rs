//! Words: the names of CDNs and DNS operators that this build knows, as a snapshot keeps them.
//!
//! Rule: a word is one of the tables' own. A snapshot with another one is of a build that knows others, and is refused.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{edges, operators};

/// A name from the tables of [`edges`] and [`operators`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word(&'static str);

impl From<&'static str> for Word {
    fn from(word: &'static str) -> Self {
        Self(word)
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = edges::words().chain(operators::words()).find(|word| *word == text);
        known.map(Self).ok_or_else(|| de::Error::custom(format!("{text:?} is no CDN or DNS operator of this build")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::{Document, Ranges, Says};

    #[test]
    fn every_word_that_ranges_say_is_kept() {
        let documents = [
            (
                Document::Aws,
                r#"{"createDate": "1", "prefixes": [
                  {"ip_prefix": "13.32.0.0/15", "region": "GLOBAL", "service": "CLOUDFRONT"},
                  {"ip_prefix": "205.251.192.0/21", "region": "GLOBAL", "service": "ROUTE53"}]}"#,
            ),
            (
                Document::Azure,
                r#"{"values": [{"name": "AzureFrontDoor.Frontend",
                  "properties": {"region": "", "addressPrefixes": ["13.107.246.0/24"]}}]}"#,
            ),
            (Document::Fastly, r#"{"addresses": ["151.101.0.0/16"]}"#),
            (Document::CloudflareV4, "104.16.0.0/13\n"),
        ];
        let ranges = Ranges::parse(documents.map(|(document, text)| (document, "", text))).expect("ranges");
        for address in ["13.32.0.1", "205.251.192.1", "13.107.246.1", "151.101.0.1", "104.16.0.1"] {
            let said = ranges.says(address.parse().expect("address"));
            let Some(Says::Cdn(word) | Says::Dns(word)) = said else { panic!("{address}: {said:?}") };
            let bytes = postcard::to_stdvec(&Word(word)).expect("writes");
            assert_eq!(postcard::from_bytes::<Word>(&bytes), Ok(Word(word)));
        }
        let foreign = postcard::to_stdvec("cdn/unheard-of").expect("writes");
        assert!(postcard::from_bytes::<Word>(&foreign).is_err());
    }
}
