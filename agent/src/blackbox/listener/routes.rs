//! What is asked for, and the answer.

use std::{sync::atomic::Ordering, time::Duration};

use http::{HeaderMap, Method, Request, StatusCode};
use url::form_urlencoded;

use super::{
    Loaded, MAX_PROBES, Probing, Room,
    answer::{Answer, metrics, not_allowed, text},
};
use crate::blackbox::{
    exposition::Exposition,
    metrics as told,
    modules::{Lookup, Module},
};

/// The query of `/probe`.
#[derive(Debug, Default)]
struct Query {
    target: String,
    module: String,
    hostname: String,
    is_debug: bool,
}

impl<P: Probing> Room<P> {
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/-/reload" => match *request.method() {
                Method::POST | Method::PUT => self.answer_reload(),
                _ => not_allowed("POST, PUT"),
            },
            "/probe" | "/metrics" | "/-/healthy" | "/config" | "/" if !is_read => not_allowed("GET, HEAD"),
            "/probe" => self.answer_probe(query(request.uri().query().unwrap_or_default()), request.headers()).await,
            "/metrics" => {
                let mut page = Exposition::default();
                self.probing.own(&mut page);
                self.of_modules(&mut page);
                metrics(&page)
            }
            "/-/healthy" => text(StatusCode::OK, "Healthy"),
            "/config" => text(StatusCode::OK, &self.config()),
            "/" => text(StatusCode::OK, INDEX),
            _ => text(StatusCode::NOT_FOUND, "Not found"),
        }
    }

    fn answer_reload(&self) -> Answer {
        match self.reload() {
            Ok(()) => text(StatusCode::OK, "Reloaded"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("Not reloaded: {error}")),
        }
    }

    async fn answer_probe(&self, query: Query, headers: &HeaderMap) -> Answer {
        let refused = |what: &str| text(StatusCode::BAD_REQUEST, what);
        let Loaded { modules, ready, .. } = self.loaded();
        let module = match modules.get(&query.module) {
            Lookup::Module(module) => module,
            Lookup::Unsupported(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                return refused(&reasons.join("\n"));
            }
            Lookup::Unknown => {
                self.unknown_modules.fetch_add(1, Ordering::Relaxed);
                return refused(&format!("Unknown module {:?}", query.module));
            }
        };
        if query.target.is_empty() {
            return refused("Target parameter is missing");
        }
        let Ok(patience) = patience(headers) else {
            return refused(&format!("{SCRAPE_TIMEOUT} is no number of seconds"));
        };
        let Ok(_place) = self.probes.try_acquire() else {
            let what = format!("{MAX_PROBES} probes are running; ask again");
            return text(StatusCode::SERVICE_UNAVAILABLE, &what);
        };
        let timeout = timeout(module.timeout, patience);
        let hostname = Some(query.hostname.as_str()).filter(|name| !name.is_empty());
        let probe = self.probing.probe(&ready, module, &query.target, hostname, timeout);
        let Ok(measured) = self.clock.timeout(timeout + GRACE, probe).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "The probe did not end in time");
        };
        let page = told::metrics(&measured);
        if query.is_debug { text(StatusCode::OK, &debug(module, &query.target, &page)) } else { metrics(&page) }
    }

    fn config(&self) -> String {
        let modules = self.loaded().modules;
        let refused = modules.unsupported().map(|refused| format!("# {refused}\n"));
        let supported = modules.supported().map(|module| format!("{module:#?}\n"));
        refused.chain(supported).collect()
    }
}

fn query(text: &str) -> Query {
    let mut query = Query { module: DEFAULT_MODULE.to_owned(), ..Query::default() };
    // Of several, the first counts, as in Go.
    for (name, value) in form_urlencoded::parse(text.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
        match name.as_ref() {
            "target" => query.target = value.into_owned(),
            "module" if !value.is_empty() => query.module = value.into_owned(),
            "hostname" => query.hostname = value.into_owned(),
            "debug" => query.is_debug = value == "true",
            _ => {}
        }
    }
    query
}

/// How long Prometheus waits for the answer; `None` where it does not say, an error where it says no number.
fn patience(headers: &HeaderMap) -> Result<Option<Duration>, ()> {
    let Some(value) = headers.get(SCRAPE_TIMEOUT) else { return Ok(None) };
    let seconds: f64 = value.to_str().map_err(drop)?.parse().map_err(drop)?;
    let patience = Duration::try_from_secs_f64(seconds).map_err(drop)?;
    Ok(Some(patience).filter(|patience| !patience.is_zero()))
}

/// How long a probe may take: the module's timeout, but less than whoever asks waits.
fn timeout(module: Option<Duration>, patience: Option<Duration>) -> Duration {
    let patience = patience.unwrap_or(DEFAULT_PATIENCE);
    let most = patience.checked_sub(MARGIN).filter(|most| !most.is_zero()).unwrap_or(patience / 2);
    module.map_or(most, |module| module.min(most)).min(DEFAULT_PATIENCE)
}

fn debug(module: &Module, target: &str, page: &Exposition) -> String {
    format!("Target: {target}\n\nMetrics:\n{}\nModule:\n{module:#?}\n", page.text())
}

/// Header by which Prometheus says how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Source: `blackbox_exporter`.
const DEFAULT_MODULE: &str = "http_2xx";
/// Source: `blackbox_exporter`.
const DEFAULT_PATIENCE: Duration = Duration::from_mins(2);
/// Source: `--timeout-offset` of `blackbox_exporter`, 0.5 s.
const MARGIN: Duration = Duration::from_millis(500);
/// How long a probe may outlive its timeout before it is given up.
const GRACE: Duration = Duration::from_secs(1);
const INDEX: &str = "Faultline agent\n\n/probe?target=example.org&module=http_2xx\n/metrics\n/config\n/-/healthy\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_takes_less_than_prometheus_waits() {
        let seconds = Duration::from_secs_f64;
        for (module, patience, expected) in [
            (None, None, 119.5),
            (Some(5.0), None, 5.0),
            (Some(5.0), Some(10.0), 5.0),
            (Some(15.0), Some(10.0), 9.5),
            (None, Some(10.0), 9.5),
            (None, Some(0.4), 0.2),
            (Some(600.0), Some(900.0), 120.0),
        ] {
            let limit = timeout(module.map(seconds), patience.map(seconds));
            assert_eq!(limit, seconds(expected), "{module:?} {patience:?}");
        }
    }

    #[test]
    fn a_query_is_read_as_go_reads_it() {
        let query = query("target=http%3A%2F%2Fa%2F%3Fb%3Dc&target=second&module=&debug=true&hostname=x+y");
        assert_eq!((query.target.as_str(), query.module.as_str()), ("http://a/?b=c", "http_2xx"));
        assert_eq!((query.hostname.as_str(), query.is_debug), ("x y", true));
    }
}
