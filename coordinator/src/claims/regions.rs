//! Regions: which regions of a cloud a text names, by dictionary.
//!
//! Rules: a name counts where no letter or digit touches it, in any case; of names that overlap the longest counts, so
//! that "East US 2" is not also "East US". What is in no dictionary is not guessed.

/// A cloud, the code of a region, and what else the region is called, a line each.
///
/// Source: the regions of the published address ranges of both clouds (October 2025), with the names of their documentation.
const DICTIONARY: &str = include_str!("regions.tsv");

/// Regions of one claim, at most; a post that names more names everything.
const MOST: usize = 16;

/// Mentions that are looked at, at most.
const MENTIONS: usize = 64;

/// The regions of `cloud` that the text names, as `aws/us-east-1`, in order and at most 16. None for other clouds.
pub fn named(cloud: &str, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let mut names: Vec<(String, &str)> = of(cloud)
        .flat_map(|(code, names)| names.split('\t').chain([code]).map(move |name| (name.to_lowercase(), code)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for (name, code) in names {
        for (begin, _) in text.match_indices(&name) {
            let end = begin + name.len();
            let overlaps = taken.iter().any(|(from, to)| begin < *to && *from < end);
            if !overlaps && taken.len() < MENTIONS && stands_alone(&text, begin, end) {
                taken.push((begin, end));
                found.push(format!("{cloud}/{code}"));
            }
        }
    }
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// The region of `cloud` whose code an id of a service and a region ends with: `ec2-us-east-1`.
pub(super) fn at_end(cloud: &str, id: &str) -> Option<String> {
    let codes = of(cloud).map(|(code, _)| code);
    let ends = |code: &str| id.strip_suffix(code).is_some_and(|service| service.is_empty() || service.ends_with('-'));
    codes.filter(|code| ends(code)).max_by_key(|code| code.len()).map(|code| format!("{cloud}/{code}"))
}

fn of(cloud: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = DICTIONARY.lines().filter_map(move |line| line.strip_prefix(cloud)?.strip_prefix('\t'));
    lines.map(|line| line.split_once('\t').unwrap_or((line, "")))
}

fn stands_alone(text: &str, begin: usize, end: usize) -> bool {
    let touches = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    !touches(text[..begin].chars().next_back()) && !touches(text[end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_found_by_code_and_by_name_and_never_guessed() {
        let rows: [(&str, &str, &[&str]); 8] = [
            ("aws", "Increased error rates in the US-EAST-1 Region", &["aws/us-east-1"]),
            ("aws", "EC2 (N. Virginia) and S3 (Ohio)", &["aws/us-east-1", "aws/us-east-2"]),
            ("azure", "Virtual Machines - East US 2", &["azure/eastus2"]),
            (
                "azure",
                "customers in East US, West Europe and UK South",
                &["azure/eastus", "azure/uksouth", "azure/westeurope"],
            ),
            ("azure", "South Central US", &["azure/southcentralus"]),
            ("azure", "the Middle East user base", &[]),
            ("aws", "us-east-11", &[]),
            ("zoom", "us-east-1", &[]),
        ];
        for (cloud, text, expected) in rows {
            assert_eq!(named(cloud, text), expected, "{text}");
        }
    }

    #[test]
    fn an_id_ends_with_its_region() {
        assert_eq!(at_end("aws", "multipleservices-us-east-1").as_deref(), Some("aws/us-east-1"));
        assert_eq!(at_end("aws", "ec2-us-gov-east-1").as_deref(), Some("aws/us-gov-east-1"));
        assert_eq!(at_end("aws", "cloudfront"), None);
        assert_eq!(at_end("aws", "xus-east-1"), None);
    }
}
