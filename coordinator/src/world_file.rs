//! The world file: where agents look from, read from TOML, for replay and for the lab. (Live agents register themselves.)
//!
//! Rule: an error names file, line, value and what is allowed. Words are compared in lower case; `""` and `0` are
//! absent, as in result lines. An agent that names no group is a witness of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use faultline_attribution::{AgentId, Vantage};
use serde::{Deserialize, Serialize};
use toml::Spanned;

const GEOGRAPHIES: [&str; 7] = ["na", "sa", "eu", "af", "me", "as", "oc"];

/// What is wrong with a world file.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}: {message}")]
    Fault {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The value and what is allowed.
        message: String,
    },
    /// It names nobody.
    #[error("{0}: no [[agent]]: a world needs at least one")]
    Empty(String),
}

/// The file as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    agent: Vec<Row>,
}

/// One `[[agent]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Spanned<String>,
    group: Option<String>,
    asn: Option<u32>,
    isp: Option<String>,
    country: Option<Spanned<String>>,
    geography: Option<Spanned<String>>,
    hosted_on: Option<String>,
    region: Option<String>,
    resolver: Option<String>,
    #[serde(default)]
    carriers: Vec<String>,
}

/// Reads a world file.
pub fn load(path: &Path) -> Result<BTreeMap<AgentId, Vantage>, WorldError> {
    let text = fs::read_to_string(path).map_err(|source| WorldError::File { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text)
}

/// Reads a world from text; `file` is for errors.
pub fn parse(file: &str, text: &str) -> Result<BTreeMap<AgentId, Vantage>, WorldError> {
    let fault =
        |at: usize, message: String| WorldError::Fault { file: file.to_owned(), line: line_of(text, at), message };
    let parsed: File = toml::from_str(text).map_err(|error| {
        fault(error.span().map_or(0, |span| span.start), error.message().trim().replace('\n', ", "))
    })?;
    let mut world = BTreeMap::new();
    for row in parsed.agent {
        let at = row.id.span().start;
        let id = row.id.get_ref().clone();
        if id.is_empty() {
            return Err(fault(at, "id \"\": an agent needs a name".into()));
        }
        let vantage = vantage(row).map_err(|(at, message)| fault(at, message))?;
        if world.insert(AgentId::from(id.as_str()), vantage).is_some() {
            return Err(fault(at, format!("id {id:?} stands twice: ids are unique")));
        }
    }
    if world.is_empty() { Err(WorldError::Empty(file.to_owned())) } else { Ok(world) }
}

/// The place of a row, or the byte of a bad value and what is wrong with it.
fn vantage(row: Row) -> Result<Vantage, (usize, String)> {
    if let Some(country) = &row.country {
        let word = country.get_ref();
        if !(word.is_empty() || word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            let message = format!("country {word:?} is not two letters of ISO 3166-1, as in \"de\"");
            return Err((country.span().start, message));
        }
    }
    let geography =
        row.geography.as_ref().map(|geography| (geography.span().start, lower(geography.get_ref().clone())));
    if let Some((at, word)) = &geography
        && !(word.is_empty() || GEOGRAPHIES.contains(&word.as_str()))
    {
        return Err((*at, format!("geography {word:?} is none of {}", GEOGRAPHIES.join(", "))));
    }
    let known = |word: Option<String>| word.filter(|word| !word.is_empty());
    let id = row.id.into_inner();
    Ok(Vantage {
        group: known(row.group).unwrap_or(id),
        asn: row.asn.filter(|asn| *asn != 0),
        isp: known(row.isp).map(lower),
        country: known(row.country.map(Spanned::into_inner)).map(lower),
        geography: known(geography.map(|(_, word)| word)),
        hosted_on: known(row.hosted_on).map(lower),
        region: known(row.region).map(lower),
        resolver: known(row.resolver),
        carriers: row.carriers.into_iter().filter(|carrier| !carrier.is_empty()).map(lower).collect(),
    })
}

fn lower(mut word: String) -> String {
    word.make_ascii_lowercase();
    word
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// One `[[agent]]` as it is written.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geography: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosted_on: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolver: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    carriers: &'a [String],
}

/// A world as a file that [`parse`] reads back.
pub fn write(world: &BTreeMap<AgentId, Vantage>) -> String {
    let mut text = String::new();
    for (id, vantage) in world {
        let row = Written {
            id: id.as_str(),
            group: &vantage.group,
            asn: vantage.asn,
            isp: vantage.isp.as_deref(),
            country: vantage.country.as_deref(),
            geography: vantage.geography.as_deref(),
            hosted_on: vantage.hosted_on.as_deref(),
            region: vantage.region.as_deref(),
            resolver: vantage.resolver.as_deref(),
            carriers: &vantage.carriers,
        };
        text.push_str("[[agent]]\n");
        text.push_str(&toml::to_string(&row).unwrap_or_default());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[agent]]\nid = \"fra-1\"\n\n[[agent]]\nid = \"tor-1\"\ngroup = \"home\"\nasn = 812\nisp = \"Rogers-CA\"\n\
                        country = \"CA\"\ngeography = \"na\"\nresolver = \"1.1.1.1\"\ncarriers = [\"AS3356\"]\n";

    #[test]
    fn an_agent_without_a_group_is_a_witness_of_its_own() {
        let world = parse("w.toml", GOOD).expect("good");
        assert_eq!(world["fra-1"].group, "fra-1");
        let tor = &world["tor-1"];
        assert_eq!(
            (tor.group.as_str(), tor.country.as_deref(), tor.isp.as_deref()),
            ("home", Some("ca"), Some("rogers-ca"))
        );
        assert_eq!(tor.carriers, ["as3356"]);
    }

    #[test]
    fn a_written_world_reads_back_as_itself() {
        let world = parse("w.toml", GOOD).expect("good");
        assert_eq!(parse("w.toml", &write(&world)).expect("back"), world);
    }

    #[test]
    fn every_fault_names_file_line_value_and_what_is_allowed() {
        let rows = [
            ("asn = 812", "asm = 812", "w.toml:7: unknown field `asm`"),
            ("asn = 812", "asn = \"812\"", "w.toml:7: invalid type: string \"812\", expected u32"),
            ("\"na\"", "\"mars\"", "w.toml:10: geography \"mars\" is none of na, sa,"),
            ("\"CA\"", "\"Canada\"", "w.toml:9: country \"Canada\" is not two letters"),
            ("\"tor-1\"", "\"fra-1\"", "w.toml:5: id \"fra-1\" stands twice"),
            ("id = \"tor-1\"\n", "", "w.toml:4: missing field `id`"),
            (GOOD, "", "w.toml: no [[agent]]"),
        ];
        for (from, to, expected) in rows {
            let found = parse("w.toml", &GOOD.replacen(from, to, 1)).expect_err(expected).to_string();
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
