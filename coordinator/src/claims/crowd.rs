//! Crowd: what operators push in of crowds, as CSV with a header or as JSON (an object, or an array of them).
//!
//! | field | what | without it |
//! |---|---|---|
//! | `about` | whom the crowd accuses: `aws`, `azure`, or another name | an error |
//! | `count` | reports in the window | an error |
//! | `baseline` | reports in such a window when nothing is wrong | an error |
//! | `at` | end of the window, RFC 3339 | the moment it is pushed in |
//! | `window_s` | length of the window in seconds | not said |
//! | `source` | `crowd`, or a name that begins with `crowd-` | `crowd` |
//! | `text`, `link` | what to show with it | nothing |
//! | `regions` | `aws/us-east-1`, with spaces between; in JSON also an array | none |
//!
//! Rules: at most 1 MiB and 1,000 rows, all or nothing; an error names line (JSON: place), field and value. A crowd reports
//! a problem from [`FACTOR`] times its baseline and [`LEAST`] reports on; else it is as on any day. That is what the crowd
//! says: it is shown, and counts for nothing.

use std::collections::BTreeMap;

use faultline_attribution::Timestamp;
use serde_json::Value;

use super::{
    Crowd, Sighting, Stance,
    intake::Seen,
    is_name,
    kept::HISTORY,
    text::{self, MAX_TEXT},
};

/// Largest body.
pub const MAX_BYTES: usize = 1 << 20;

/// Rows of one.
pub const MAX_ROWS: usize = 1000;

/// A crowd reports a problem from so many times its baseline on. Source: what reports do by the hour of the day stays
/// within a factor of two; the false alarm of 29 October 2025 was at 750.
pub const FACTOR: u64 = 3;

/// And from so many reports on: three people are no crowd.
pub const LEAST: u64 = 10;

/// The largest count that is taken.
const MAX_COUNT: u64 = 1_000_000_000;

/// Fields.
const FIELDS: [&str; 9] = ["source", "about", "at", "count", "baseline", "window_s", "text", "link", "regions"];

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values with a header.
    Csv,
    /// An object, or an array of objects.
    Json,
}

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrowdError {
    /// Too long.
    #[error("more than {MAX_BYTES} bytes")]
    Long,
    /// Too many rows.
    #[error("more than {MAX_ROWS} rows")]
    Many,
    /// No such text.
    #[error("{0}")]
    Form(String),
    /// A row.
    #[error("{place}: {field}: {message}")]
    Field {
        /// `line 3`, or `[2]`.
        place: String,
        /// The field.
        field: String,
        /// Value and what is allowed.
        message: String,
    },
}

/// What a body says, in the order of time.
pub fn read(form: Form, body: &[u8], now: Timestamp) -> Result<Vec<Seen>, CrowdError> {
    if body.len() > MAX_BYTES {
        return Err(CrowdError::Long);
    }
    let rows = match form {
        Form::Csv => csv_rows(body)?,
        Form::Json => json_rows(body)?,
    };
    let mut seen = rows.into_iter().map(|row| row.seen(now)).collect::<Result<Vec<_>, _>>()?;
    seen.sort_by_key(|seen| seen.at);
    Ok(seen)
}

/// A row and where it stands.
struct Row {
    place: String,
    fields: BTreeMap<String, Value>,
}

fn csv_rows(body: &[u8]) -> Result<Vec<Row>, CrowdError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(body);
    let form = |error: csv::Error| CrowdError::Form(text::plain(&error.to_string(), text::MAX_REASON));
    let header = reader.headers().map_err(form)?.clone();
    for (field, place) in header.iter().zip(0..) {
        let at = || "line 1".to_owned();
        if !FIELDS.contains(&field) {
            return Err(unknown(at(), field));
        }
        if header.iter().take(place).any(|before| before == field) {
            return Err(CrowdError::Field { place: at(), field: field.into(), message: "is there twice".into() });
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(form)?;
        if rows.len() >= MAX_ROWS {
            return Err(CrowdError::Many);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let fields = header.iter().zip(&record).filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(field, value)| (field.to_owned(), Value::String(value.to_owned()))).collect();
        rows.push(Row { place: format!("line {line}"), fields });
    }
    Ok(rows)
}

fn json_rows(body: &[u8]) -> Result<Vec<Row>, CrowdError> {
    let value = serde_json::from_slice(body).map_err(|error| {
        CrowdError::Form(format!("not JSON: {}", text::plain(&error.to_string(), text::MAX_REASON)))
    })?;
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    if values.len() > MAX_ROWS {
        return Err(CrowdError::Many);
    }
    let row = |(value, number): (Value, usize)| {
        let place = format!("[{number}]");
        let Value::Object(fields) = value else {
            return Err(CrowdError::Form(format!("{place}: not an object, as in {{\"about\": \"aws\", ...}}")));
        };
        if let Some(field) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(unknown(place, field));
        }
        Ok(Row { place, fields: fields.into_iter().filter(|(_, value)| !value.is_null()).collect() })
    };
    values.into_iter().zip(0..).map(row).collect()
}

fn unknown(place: String, field: &str) -> CrowdError {
    let (field, message) = (text::plain(field, 40), format!("no such field: they are {}", FIELDS.join(", ")));
    CrowdError::Field { place, field, message }
}

impl Row {
    fn seen(&self, now: Timestamp) -> Result<Seen, CrowdError> {
        let source = self.name("source")?.unwrap_or_else(|| "crowd".into());
        if source != "crowd" && !source.starts_with("crowd-") {
            return Err(self.wrong("source", &source, "crowd, or a name that begins with crowd-"));
        }
        let about = self.name("about")?.ok_or_else(|| self.missing("about"))?;
        let at = self.at(now)?;
        let count = self.number("count", MAX_COUNT)?.ok_or_else(|| self.missing("count"))?;
        let baseline = self.number("baseline", MAX_COUNT)?.ok_or_else(|| self.missing("baseline"))?;
        let window = self.number("window_s", 86_400)?.and_then(|window| u32::try_from(window).ok());
        let link = self.text("link")?;
        if !link.is_empty() && text::link(&link).is_empty() {
            return Err(self.wrong("link", &link, "an http or https address of at most 500 characters"));
        }
        let is_loud = count >= LEAST && count >= baseline.saturating_mul(FACTOR);
        let sighting = Sighting {
            text: text::plain(&self.text("text")?, MAX_TEXT),
            link: text::link(&link),
            regions: self.regions()?,
            crowd: Some(Crowd { count, baseline, window_s: window }),
            ..Sighting::bare(if is_loud { Stance::ReportsProblem } else { Stance::NothingPosted })
        };
        Ok(Seen { source, about, at, sighting })
    }

    fn text(&self, field: &str) -> Result<String, CrowdError> {
        match self.fields.get(field) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.trim().to_owned()),
            Some(other) => Err(self.wrong(field, &other.to_string(), "text")),
        }
    }

    fn name(&self, field: &str) -> Result<Option<String>, CrowdError> {
        let name = self.text(field)?.to_ascii_lowercase();
        if name.is_empty() {
            return Ok(None);
        }
        if is_name(&name) {
            Ok(Some(name))
        } else {
            Err(self.wrong(field, &name, "a name: a-z, 0-9, - and ., at most 40"))
        }
    }

    fn number(&self, field: &str, most: u64) -> Result<Option<u64>, CrowdError> {
        let Some(value) = self.fields.get(field) else { return Ok(None) };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_u64(),
        };
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let allowed = || format!("a whole number from 0 to {most}");
        number.filter(|number| *number <= most).map(Some).ok_or_else(|| self.wrong(field, &shown, &allowed()))
    }

    fn at(&self, now: Timestamp) -> Result<Timestamp, CrowdError> {
        let text = self.text("at")?;
        if text.is_empty() {
            return Ok(now);
        }
        let at: jiff::Timestamp =
            text.parse().map_err(|_| self.wrong("at", &text, "an RFC 3339 instant, as in 2025-10-29T16:45:00Z"))?;
        let at = Timestamp::from_micros(at.as_microsecond());
        if at > now.after(std::time::Duration::from_mins(5)) || now.since(at) > HISTORY {
            return Err(self.wrong("at", &text, "within the last 90 days"));
        }
        Ok(at.min(now))
    }

    fn regions(&self) -> Result<Vec<String>, CrowdError> {
        let mut regions: Vec<String> = match self.fields.get("regions") {
            Some(Value::Array(regions)) => regions
                .iter()
                .map(|region| region.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong("regions", "[...]", "an array of texts"))?,
            _ => self.text("regions")?.split_whitespace().map(str::to_owned).collect(),
        };
        for region in &mut regions {
            region.make_ascii_lowercase();
        }
        let is_region =
            |region: &String| region.split_once('/').is_some_and(|(cloud, region)| is_name(cloud) && is_name(region));
        if let Some(wrong) = regions.iter().find(|region| !is_region(region)) {
            return Err(self.wrong("regions", wrong, "a cloud and a region, as in aws/us-east-1"));
        }
        regions.truncate(32);
        Ok(regions)
    }

    fn wrong(&self, field: &str, value: &str, allowed: &str) -> CrowdError {
        let message = format!("{:?} is not {allowed}", text::plain(value, 60));
        CrowdError::Field { place: self.place.clone(), field: field.into(), message }
    }

    fn missing(&self, field: &str) -> CrowdError {
        CrowdError::Field { place: self.place.clone(), field: field.into(), message: "is missing".into() }
    }
}

#[cfg(test)]
mod tests;
