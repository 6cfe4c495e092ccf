//! Ranges: which cloud or CDN an address belongs to, from the lists that the publishers put out.
//!
//! Five publishers, six documents ([`Document`]). Rules:
//! * The longest prefix wins. What several services say of the same prefix is joined: a service beats its umbrella
//!   (`AMAZON`, `AzureCloud`, `Google Cloud`), two regions make none, two publishers make the prefix say nothing.
//! * A prefix that is published without a region (an Azure tag that joins all regions) has that of the prefix around it.
//!   `GLOBAL` (AWS) and `global` (GCP) are said on purpose and stay without one.
//! * A list says who announces an address, never whose site answers there. Most of GitHub's published ranges lie inside
//!   Azure's: such an address is hosted on Azure, and GitHub is not Microsoft's service for it.
//! * Silence means nothing. `AzureCloud` is not the union of the service tags (some services have prefixes outside it),
//!   and name servers of Azure DNS are partly in no tag: who operates a zone is read from the names of its servers.

mod assemble;
mod aws;
mod azure;
mod cloudflare;
pub mod compact;
mod fastly;
pub mod fetch;
mod gcp;
pub mod keep;
pub mod refresh;
pub mod store;

use std::{fmt, fs, io, net::IpAddr, path::Path, str::FromStr, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use serde::{Deserialize, Serialize};

use self::assemble::Rows;

/// Who publishes ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
    /// Cloudflare.
    Cloudflare,
    /// Fastly.
    Fastly,
}

impl Provider {
    /// The word that catalogs use in `hosted_on`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Cloudflare => "cloudflare",
            Self::Fastly => "fastly",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One published document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    /// `ip-ranges.json`.
    Aws,
    /// `ServiceTags_Public_<date>.json`.
    Azure,
    /// `cloud.json`.
    Gcp,
    /// `ips-v4`.
    CloudflareV4,
    /// `ips-v6`.
    CloudflareV6,
    /// `public-ip-list`.
    Fastly,
}

/// A word that names no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of aws, azure, gcp, cloudflare-v4, cloudflare-v6, fastly")]
pub struct UnknownDocument(String);

impl Document {
    /// Every document.
    pub const ALL: [Self; 6] =
        [Self::Aws, Self::Azure, Self::Gcp, Self::CloudflareV4, Self::CloudflareV6, Self::Fastly];

    /// Its word: in options, file names and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::CloudflareV4 => "cloudflare-v4",
            Self::CloudflareV6 => "cloudflare-v6",
            Self::Fastly => "fastly",
        }
    }

    /// Who publishes it.
    pub const fn provider(self) -> Provider {
        match self {
            Self::Aws => Provider::Aws,
            Self::Azure => Provider::Azure,
            Self::Gcp => Provider::Gcp,
            Self::CloudflareV4 | Self::CloudflareV6 => Provider::Cloudflare,
            Self::Fastly => Provider::Fastly,
        }
    }

    fn parse(self, text: &str, rows: &mut Rows) -> Result<String, Fault> {
        match self {
            Self::Aws => aws::parse(text, rows),
            Self::Azure => azure::parse(text, rows),
            Self::Gcp => gcp::parse(text, rows),
            Self::CloudflareV4 | Self::CloudflareV6 => cloudflare::parse(text, rows),
            Self::Fastly => fastly::parse(text, rows),
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Document {
    type Err = UnknownDocument;

    fn from_str(word: &str) -> Result<Self, UnknownDocument> {
        Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| UnknownDocument(word.to_owned()))
    }
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not the publisher's JSON.
    #[error("not the JSON that it publishes: {0}")]
    Json(#[from] serde_json::Error),
    /// Not an address prefix.
    #[error("{field} = {value:?} is not an address prefix such as \"192.0.2.0/24\"")]
    Prefix {
        /// Where.
        field: String,
        /// What stands there.
        value: String,
    },
    /// A prefix that would give one publisher a good part of the internet.
    #[error("{field} = {value:?} is wider than /{}", WIDEST_V4)]
    Wide {
        /// Where.
        field: String,
        /// What stands there.
        value: String,
    },
    /// Nothing in it.
    #[error("it holds no prefix at all")]
    Empty,
}

/// Wider prefixes are refused: a slip of one publisher must not swallow everybody else's addresses. The widest that is
/// published is AWS's /11; cloud blocks of /8 have existed. The bound holds for IPv6 too, where nobody has more than /20.
const WIDEST_V4: u8 = 8;

/// Why ranges cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RangesError {
    /// A file or folder.
    #[error("{file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file that is none of the documents.
    #[error(
        "{file}: not a list of published ranges; known are those of AWS, Azure (service tags), GCP, Cloudflare and Fastly"
    )]
    Shape {
        /// Which.
        file: String,
    },
    /// A document with something wrong in it.
    #[error("{file}: ranges of {document}: {source}")]
    Document {
        /// Which.
        file: String,
        /// What it should be.
        document: Document,
        /// What is wrong.
        source: Fault,
    },
    /// Two files that are the same document.
    #[error("{file}: ranges of {document} are also in {other}: keep one of them")]
    Twice {
        /// One.
        file: String,
        /// The other.
        other: String,
        /// What both are.
        document: Document,
    },
}

/// What is published of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// Who publishes it.
    pub provider: Provider,
    /// Region, by the name that the provider's endpoints and API use.
    pub region: Option<Arc<str>>,
    /// Services or service tags, as published, in order; an umbrella only when there is nothing else.
    pub tags: Vec<Arc<str>>,
}

/// What a range says of a target that answers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says<'a> {
    /// This CDN stands in front.
    Cdn(&'static str),
    /// This DNS operator's servers.
    Dns(&'static str),
    /// Hosted there.
    Hosted(Provider, Option<&'a Arc<str>>),
}

impl Range {
    /// What it says of a target that answers there.
    ///
    /// Source: the services' documentation. `CLOUDFRONT` are CloudFront's edges (`CLOUDFRONT_ORIGIN_FACING` are not);
    /// `AzureFrontDoor.Frontend` and `.FirstParty` are what clients reach (`.Backend` is what origins see); `ROUTE53` are
    /// its name servers; `GLOBALACCELERATOR` answers from whichever edge is near, whatever region is written there.
    pub fn says(&self) -> Says<'_> {
        let has = |word: &str| self.tags.iter().any(|tag| &**tag == word);
        match self.provider {
            Provider::Cloudflare => Says::Cdn("cdn/cloudflare"),
            Provider::Fastly => Says::Cdn("cdn/fastly"),
            Provider::Aws if has("CLOUDFRONT") => Says::Cdn("aws/cloudfront"),
            Provider::Aws if has("ROUTE53") => Says::Dns("route53"),
            Provider::Aws if has("GLOBALACCELERATOR") => Says::Hosted(self.provider, None),
            Provider::Azure if has("AzureFrontDoor.Frontend") || has("AzureFrontDoor.FirstParty") => {
                Says::Cdn("azure/front-door")
            }
            provider => Says::Hosted(provider, self.region.as_ref()),
        }
    }
}

/// One document that ranges were made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which.
    pub document: Document,
    /// The publisher's own word for this edition; empty where it has none.
    pub edition: String,
    /// CRC-32C of the text.
    pub digest: u32,
    /// Prefixes in it.
    pub prefixes: u32,
}

/// Published ranges, for lookups.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// Each once; prefixes have its number.
    distinct: Vec<Range>,
    v4: PrefixMap<Ipv4Net, u32>,
    v6: PrefixMap<Ipv6Net, u32>,
    sources: Vec<Source>,
}

/// Index of a prefix that says nothing since two publishers claim it.
const CONTESTED: u32 = u32::MAX;

impl Ranges {
    /// Reads documents: what each is, where it came from (for errors), and its text.
    pub fn parse<'a>(documents: impl IntoIterator<Item = (Document, &'a str, &'a str)>) -> Result<Self, RangesError> {
        let (mut rows, mut sources) = (Rows::default(), Vec::new());
        for (document, file, text) in documents {
            let fail = |source| RangesError::Document { file: file.to_owned(), document, source };
            let before = rows.len();
            let edition = document.parse(text, &mut rows).map_err(fail)?;
            if rows.len() == before {
                return Err(fail(Fault::Empty));
            }
            let prefixes = u32::try_from(rows.len() - before).unwrap_or(u32::MAX);
            sources.push(Source { document, edition, digest: crc32c::crc32c(text.as_bytes()), prefixes });
        }
        Ok(Self { sources, ..rows.assemble() })
    }

    /// Reads every `.json` and `.txt` file of a folder. What a file is, its content says, not its name.
    pub fn load_dir(folder: &Path) -> Result<Self, RangesError> {
        let fail = |path: &Path| {
            let file = path.display().to_string();
            move |source| RangesError::Read { file, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(fail(folder))? {
            paths.push(entry.map_err(fail(folder))?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json" || ending == "txt"));
        paths.sort();
        let mut found: Vec<(Document, String, String)> = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(fail(&path))?;
            let file = path.display().to_string();
            let document = shape(&text).ok_or_else(|| RangesError::Shape { file: file.clone() })?;
            if let Some((_, other, _)) = found.iter().find(|(known, ..)| *known == document) {
                return Err(RangesError::Twice { file, other: other.clone(), document });
            }
            found.push((document, file, text));
        }
        Self::parse(found.iter().map(|(document, file, text)| (*document, file.as_str(), text.as_str())))
    }

    /// What is published of an address, and for which prefix.
    pub fn lookup(&self, address: IpAddr) -> Option<(IpNet, &Range)> {
        let (prefix, range) = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let (prefix, range) = self.v4.get_lpm(&v4.into())?;
                (IpNet::from(*prefix), *range)
            }
            IpAddr::V6(v6) => {
                let (prefix, range) = self.v6.get_lpm(&v6.into())?;
                (IpNet::from(*prefix), *range)
            }
        };
        Some((prefix, self.distinct.get(usize::try_from(range).ok()?)?))
    }

    /// What an address says of a target that answers there.
    pub fn says(&self, address: IpAddr) -> Option<Says<'_>> {
        self.lookup(address).map(|(_, range)| range.says())
    }

    /// The documents that these ranges were made of.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Number of prefixes that are told apart.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which document a text is.
fn shape(text: &str) -> Option<Document> {
    use serde::de::IgnoredAny;
    /// One field of each publisher that no other has.
    #[derive(Deserialize)]
    struct Shape {
        values: Option<IgnoredAny>,
        addresses: Option<IgnoredAny>,
        prefixes: Option<IgnoredAny>,
        #[serde(rename = "ipv6_prefixes")]
        aws: Option<IgnoredAny>,
        #[serde(rename = "createDate")]
        aws_date: Option<IgnoredAny>,
    }
    if let Ok(shape) = serde_json::from_str::<Shape>(text) {
        return match shape {
            Shape { values: Some(_), .. } => Some(Document::Azure),
            Shape { addresses: Some(_), .. } => Some(Document::Fastly),
            Shape { prefixes: Some(_), aws: None, aws_date: None, .. } => Some(Document::Gcp),
            Shape { prefixes: Some(_), .. } => Some(Document::Aws),
            _ => None,
        };
    }
    match text.lines().find(|line| !line.trim().is_empty())?.trim().parse().ok()? {
        IpNet::V4(_) => Some(Document::CloudflareV4),
        IpNet::V6(_) => Some(Document::CloudflareV6),
    }
}

#[cfg(test)]
mod tests;
