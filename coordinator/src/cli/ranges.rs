//! `faultline ranges`: the published address ranges that the coordinator goes by.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use faultline_attribution::Timestamp;
use faultline_proto::clock::Clock;
use serde_json::json;

use super::{DataDir, Format, say, say_error};
use crate::ranges::{
    Document, Ranges as Published,
    refresh::{Override, Publishers, Refreshed, refresh},
    store::Store,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Ranges {
    /// Print what is held and how old it is, or what is published of addresses: provider, region, service tags
    Show(Show),
    /// Ask the publishers now; exit 1 when one could not be asked (what is held of it stays)
    Refresh(Refresh),
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline ranges show 13.107.246.40 52.94.5.1")]
pub(super) struct Show {
    #[command(flatten)]
    data: DataDir,
    /// Read the documents of this folder instead; what a file is, its content says
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// text, or ndjson
    #[arg(short, long, default_value = "text")]
    output: Format,
    /// Addresses to look up
    addresses: Vec<IpAddr>,
}

#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  faultline ranges refresh --data-dir ./data")]
pub(super) struct Refresh {
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    publishers: PublisherUrls,
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub(super) struct PublisherUrls {
    /// Fetch a document from elsewhere: aws, azure, gcp, cloudflare-v4, cloudflare-v6 or fastly; repeats. https, or http
    /// from a loopback address
    #[arg(long, value_name = "PROVIDER=URL")]
    ranges_url: Vec<Override>,
}

impl PublisherUrls {
    pub(super) fn publishers(self) -> Publishers {
        Publishers::with(self.ranges_url)
    }
}

impl Ranges {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Show(show) => show.run(),
            Self::Refresh(refresh) => refresh.run(),
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(Clock::system().now_micros())
}

/// How long ago, for people: the two largest units.
pub(super) fn age(span: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(span.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// One line on how old the ranges of a data directory are; `None` where it holds none that were fetched, such as on
/// another machine than the coordinator's.
pub(super) fn ages(data: &Path) -> Option<String> {
    let (store, now) = (Store::of(data), now());
    let notes = Document::ALL.into_iter().filter_map(|document| Some((document, store.note(document)?)));
    let ages: Vec<String> = notes.map(|(document, note)| format!("{document} {}", age(note.age(now)))).collect();
    (!ages.is_empty()).then(|| format!("published ranges, age: {}", ages.join(", ")))
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        let store = self.from.is_none().then(|| Store::of(&self.data.data_dir));
        let ranges = match (&self.from, &store) {
            (Some(folder), _) => Published::load_dir(folder)?,
            (None, Some(store)) => {
                let (ranges, errors) = store.load();
                for error in errors {
                    say_error(&error.to_string());
                }
                ranges
            }
            (None, None) => Published::default(),
        };
        if ranges.is_empty() {
            anyhow::bail!(
                "no published ranges here; `faultline ranges refresh` fetches them, --from DIR reads a folder"
            );
        }
        if self.addresses.is_empty() {
            return self.documents(&ranges, store.as_ref());
        }
        let note_of = |document| store.as_ref().and_then(|store| store.note(document));
        for address in &self.addresses {
            let found = ranges.lookup(*address);
            if self.output != Format::Text {
                let object = match found {
                    None => json!({ "address": address }),
                    Some((prefix, range)) => json!({
                        "address": address, "prefix": prefix.to_string(), "provider": range.provider, "region": range.region,
                        "tags": range.tags,
                    }),
                };
                say(&object.to_string())?;
                continue;
            }
            let Some((prefix, range)) = found else {
                say(&format!("{address:39} in no published range"))?;
                continue;
            };
            let ages = ranges.sources().iter().map(|source| source.document);
            let ages = ages.filter(|document| document.provider() == range.provider).filter_map(note_of);
            let oldest = ages.map(|note| note.age(now())).max();
            let oldest = oldest.map(|span| format!("  ({} old)", age(span))).unwrap_or_default();
            let region = range.region.as_deref().unwrap_or("-");
            let tags = range.tags.join(", ");
            say(&format!("{address:39} {:10} {region:20} {prefix}  {tags}{oldest}", range.provider))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn documents(&self, ranges: &Published, store: Option<&Store>) -> anyhow::Result<ExitCode> {
        for source in ranges.sources() {
            let note = store.and_then(|store| store.note(source.document));
            if self.output == Format::Text {
                let edition = if source.edition.is_empty() { "-" } else { &source.edition };
                let age = note.map_or_else(
                    || "age unknown".to_owned(),
                    |note| {
                        format!(
                            "fetched {} ago, checked {} ago",
                            age(now().since(note.fetched_at)),
                            age(note.age(now()))
                        )
                    },
                );
                say(&format!("{:14} {:7} prefixes  edition {edition:28} {age}", source.document, source.prefixes))?;
            } else {
                let mut object = serde_json::to_value(source)?;
                if let Some(note) = note {
                    object["url"] = note.url.clone().into();
                    object["etag"] = note.etag.clone().into();
                    object["age_s"] = note.age(now()).as_secs().into();
                }
                say(&object.to_string())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Refresh {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (store, publishers) = (Store::of(&self.data.data_dir), self.publishers.publishers());
        let mut code = ExitCode::SUCCESS;
        for document in Document::ALL {
            match refresh(&store, &publishers, document, now()) {
                Ok(Refreshed::Changed) => say(&format!("{document:14} new"))?,
                Ok(Refreshed::Unchanged) => say(&format!("{document:14} unchanged"))?,
                Err(error) => {
                    say_error(&format!("{document}: {error}"));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}
