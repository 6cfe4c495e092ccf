//! `faultline measure`: single results as they come in.
//!
//! Rules: what is missing is told, on standard error and as a line of JSON; a stream that breaks is opened again, and what was
//! stored meanwhile is missing; a refusal that will not pass ends it.

mod line;

use std::{process::ExitCode, time::Duration};

use faultline_attribution::{Cause, Layer, Timestamp};
use faultline_proto::{
    convert,
    measure::v1alpha1::{
        MeasureFilter, SlowPolicy, SubscribeRequest, SubscribeResponse, measure_service_client::MeasureServiceClient,
        subscribe_response::Message,
    },
    types::v1 as types,
};
use tokio::time;
use tonic::{Code, Streaming, codec::CompressionEncoding};

use self::line::{gap, result, text};
use super::{
    FeedAddress, Usage,
    colour::{Colour, clean},
    runtime, say, say_error,
    subscriber::{self, Source},
};

/// Spacing of bookmarks asked for; three late is dead.
const BOOKMARKS: Duration = Duration::from_secs(15);

/// Pauses between attempts: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

#[derive(Debug, clap::Subcommand)]
pub(super) enum Measure {
    /// Follow results as they are stored
    #[command(
        before_help = "Example:\n  faultline measure watch --layer dns --outcome failed --token-file research.token\n  faultline measure watch --element azure/front-door -o ndjson --for 1h > results.ndjson",
        after_help = "Exit codes: 0 --for ran out, or the reader is gone; 1 it did not work; 2 wrong usage"
    )]
    Watch(Box<Watch>),
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// With a token for results: faultline subscriber create NAME --role measure-read
    #[command(flatten)]
    feed: FeedAddress,
    /// Results of these targets
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    target: Vec<String>,
    /// Results that say something of these elements, their parts, or what they are part of, as in aws/us-east-1,azure/front-door
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    element: Vec<String>,
    /// Results of targets in these regions, as in aws/us-east-1
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    region: Vec<String>,
    /// Results from these vantage groups
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    group: Vec<String>,
    /// Results that ended so
    #[arg(long, value_enum, value_delimiter = ',')]
    outcome: Vec<Outcome>,
    /// Failures at these layers: dns, connect, tls, http. What did not fail comes too, unless --outcome says otherwise
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    layer: Vec<Layer>,
    /// Failures of these causes, as in `dns_timeout`
    #[arg(long, value_name = "CAUSE", value_delimiter = ',')]
    cause: Vec<Cause>,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// End after this long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    #[command(flatten)]
    colour: Colour,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    #[value(alias = "json")]
    Ndjson,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Outcome {
    /// Every layer passed
    Passed,
    /// One failed
    Failed,
    /// The agent could not look
    Unmeasured,
}

impl Measure {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Watch(watch) = self;
        let source = Source::of(&watch.feed)?;
        let ended = runtime()?.block_on(async {
            match watch.lasting {
                Some(lasting) => time::timeout(lasting, watch.follow(&source)).await.unwrap_or(Ok(())),
                None => watch.follow(&source).await,
            }
        });
        match ended {
            // Whoever read this is gone.
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Ok(ExitCode::SUCCESS),
            ended => ended.map(|()| ExitCode::SUCCESS),
        }
    }
}

/// Which results are known.
#[derive(Debug, Default)]
struct Held {
    /// Up to then, but for what was told as missing.
    until: Option<Timestamp>,
    /// What was stored since then, and before this stream began, is still to be told as missing.
    missing_since: Option<Timestamp>,
}

/// Why a stream ended, if it may be opened again.
enum Ended {
    /// The coordinator closes, and says when to come back.
    Asked(Duration),
    /// It broke.
    Broken(String),
}

impl Watch {
    async fn follow(&self, source: &Source) -> anyhow::Result<()> {
        let (mut pause, mut held) = (BACKOFF.0, Held::default());
        loop {
            let ended = self.read(source, &mut held, &mut pause).await?;
            let wait = match ended {
                Ended::Asked(wait) => wait.clamp(BACKOFF.0, BACKOFF.1),
                Ended::Broken(why) => {
                    let wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
                    pause = (pause * 2).min(BACKOFF.1);
                    say_error(&format!("{}; trying again in {wait:.1?}", clean(&why)));
                    wait
                }
            };
            time::sleep(wait).await;
        }
    }

    /// Reads one stream to its end.
    async fn read(&self, source: &Source, held: &mut Held, pause: &mut Duration) -> anyhow::Result<Ended> {
        let channel = match source.channel().await {
            Ok(channel) => channel,
            Err(error) => return Ok(Ended::Broken(format!("{error:#}"))),
        };
        let mut client = MeasureServiceClient::new(channel)
            .max_decoding_message_size(16 << 20)
            .accept_compressed(CompressionEncoding::Zstd)
            .accept_compressed(CompressionEncoding::Gzip);
        let mut stream = match client.subscribe(self.request()).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                let said = subscriber::said(&status);
                return match status.code() {
                    Code::InvalidArgument => Err(Usage(said).into()),
                    Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Err(anyhow::anyhow!(said)),
                    _ => Ok(Ended::Broken(said)),
                };
            }
        };
        held.missing_since = held.until;
        let mut asked = None;
        loop {
            match next(&mut stream).await {
                Ok(Some(message)) => {
                    *pause = BACKOFF.0;
                    asked = self.tell(message, held)?.or(asked);
                }
                Ok(None) => return Ok(Ended::Asked(asked.unwrap_or(BACKOFF.0))),
                Err(_) if asked.is_some() => return Ok(Ended::Asked(asked.unwrap_or(BACKOFF.0))),
                Err(why) => return Ok(Ended::Broken(why)),
            }
        }
    }

    /// Tells a message; a pause when the coordinator closes.
    fn tell(&self, message: Message, held: &mut Held) -> anyhow::Result<Option<Duration>> {
        match message {
            Message::Measurements(several) => {
                for measured in &several.measurements {
                    match self.output {
                        Form::Text => self.colour.say(&text(measured))?,
                        Form::Ndjson => say(&serde_json::to_string(&result(measured))?)?,
                    }
                }
            }
            Message::Gap(missing) => {
                let (from, to) = (line::at(missing.from.as_ref()), line::at(missing.to.as_ref()));
                self.missing(Some(missing.results), from, to)?;
            }
            Message::Bookmark(mark) => {
                let now = line::at(mark.server_time.as_ref());
                if let Some(since) = held.missing_since.take() {
                    self.missing(None, since, now)?;
                }
                held.until = Some(now);
            }
            Message::Closing(closing) => {
                return Ok(Some(convert::std_duration(closing.retry_after.as_ref()).unwrap_or(BACKOFF.0)));
            }
        }
        Ok(None)
    }

    /// Says what is missing.
    fn missing(&self, results: Option<u64>, from: Timestamp, to: Timestamp) -> anyhow::Result<()> {
        let how_many =
            results.map_or_else(|| "whatever was stored".into(), |results| format!("up to {results} results"));
        say_error(&format!("missing: {how_many} from {from} to {to}"));
        if self.output == Form::Ndjson {
            say(&serde_json::to_string(&gap(results, from, to))?)?;
        }
        Ok(())
    }

    fn request(&self) -> SubscribeRequest {
        let outcome = |outcome: &Outcome| match outcome {
            Outcome::Passed => types::Outcome::Passed as i32,
            Outcome::Failed => types::Outcome::Failed as i32,
            Outcome::Unmeasured => types::Outcome::Unmeasured as i32,
        };
        let wire_name = |prefix: &str, word: &str| format!("{prefix}_{}", word.to_ascii_uppercase());
        let layer = |layer: &Layer| types::Layer::from_str_name(&wire_name("LAYER", layer.as_str()));
        let cause = |cause: &Cause| types::Cause::from_str_name(&wire_name("CAUSE", cause.as_str()));
        SubscribeRequest {
            filter: Some(MeasureFilter {
                targets: self.target.clone(),
                elements: self.element.clone(),
                regions: self.region.clone(),
                vantage_groups: self.group.clone(),
                outcomes: self.outcome.iter().map(outcome).collect(),
                layers: self.layer.iter().filter_map(layer).map(Into::into).collect(),
                causes: self.cause.iter().filter_map(cause).map(Into::into).collect(),
            }),
            bookmark_interval: Some(convert::duration(BOOKMARKS)),
            slow_policy: SlowPolicy::Coalesce as i32,
            client_name: format!("faultline-measure/{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// The next message that says something; `None` at the end, words when it broke.
async fn next(stream: &mut Streaming<SubscribeResponse>) -> Result<Option<Message>, String> {
    loop {
        let silent = || format!("no word from the coordinator for {} s", 3 * BOOKMARKS.as_secs());
        let answer = time::timeout(3 * BOOKMARKS, stream.message()).await.map_err(|_| silent())?;
        match answer.map_err(|status| subscriber::said(&status))? {
            Some(SubscribeResponse { message: Some(message) }) => return Ok(Some(message)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        measure: Measure,
    }

    fn watch(words: &str) -> Watch {
        let line = Line::try_parse_from(["faultline", "watch"].into_iter().chain(words.split(' '))).expect("a command");
        let Measure::Watch(watch) = line.measure;
        *watch
    }

    #[test]
    fn every_word_of_a_filter_reaches_the_request() {
        let words =
            "--layer dns,http --cause http_status --outcome failed --element aws --group g --region azure --target t";
        let filter = watch(words).request().filter.expect("a filter");
        assert_eq!(filter.layers, [types::Layer::Dns as i32, types::Layer::Http as i32]);
        assert_eq!((filter.causes, filter.outcomes), (vec![types::Cause::HttpStatus as i32], vec![2]));
        assert_eq!((filter.elements, filter.regions), (vec!["aws".to_owned()], vec!["azure".to_owned()]));
        assert_eq!((filter.vantage_groups, filter.targets), (vec!["g".to_owned()], vec!["t".to_owned()]));
        for word in Cause::ALL {
            let filter = watch(&format!("--cause {word}")).request().filter.expect("a filter");
            assert_eq!(filter.causes.len(), 1, "{word} is none of the contract's");
        }
    }
}
