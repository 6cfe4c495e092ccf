//! The page's server: HTML, the stylesheet, the script, and server-sent events.
//!
//! | path | what |
//! |---|---|
//! | `/incidents/<id>` and beneath | one incident: `incident` |
//! | `/` | the page, rendered from the board as it is at that moment; `?span=24h`, `7d` or `90d` of timeline, `?mine=` what the reader uses |
//! | `/scorecard` | the verdicts of 90 days, retracted ones among them |
//! | `/vantages/<group or agent>`, `/targets/<id>` | what is known of one, and the open incidents that it speaks in |
//! | `/events` | server-sent events: `events` |
//! | any page with `?theme=auto`, `light` or `dark` | the same page, and a cookie that keeps the theme |
//! | `/style.css`, `/app.js`, `/favicon.svg` | what the page needs; nothing comes from another host |
//! | `/healthz` | `ok` while the server answers |
//! | any other | a page that says so, with 404; for gRPC, `UNIMPLEMENTED` |
//! | what programs read | see [`super::formats`] |

mod events;
mod incident;

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use faultline_attribution::{TargetId, Timestamp};
use tokio::{sync::Semaphore, task};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower_http::{CompressionLevel, compression::CompressionLayer};

use super::{
    Hub,
    archive::Archive,
    formats,
    page::{
        self, View,
        asked::Asked,
        theme::{self, Theme},
    },
};
use crate::{
    access::Access,
    catalog::Catalog,
    counts::{self, By, Part},
    ingest::AgentView,
    log::sqlite::SqliteReader,
};

/// Readers of the log at once.
const READERS: usize = 4;

/// Sent with every answer. No inline script or style, nothing from elsewhere, no frame around it.
const POLICY: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Who looks, as of now.
type Agents = Arc<dyn Fn() -> Vec<AgentView> + Send + Sync>;

/// What pages show that is not on the board.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The catalog in force.
    pub catalog: Arc<Catalog>,
    /// The data directory, whose log holds the counts.
    pub data: PathBuf,
}

/// The page and its events, until shutdown. What has left the board comes from the archive.
pub fn router(
    hub: Arc<Hub>,
    agents: Agents,
    known: Known,
    archive: Archive,
    access: Arc<Access>,
    shutdown: CancellationToken,
) -> Router {
    let site = Site { hub, agents, known, archive, access, shutdown, readers: Arc::new(Semaphore::new(READERS)) };
    Router::new()
        .route("/", get(async |State(site): State<Site>, asked: Asked| site.front(&asked)))
        .merge(incident::router())
        .route("/scorecard", get(async |State(site): State<Site>, asked: Asked| site.scorecard(&asked)))
        .route(
            "/vantages/{*name}",
            get(async |State(site): State<Site>, Path(name): Path<String>, asked: Asked| site.vantage(&name, &asked)),
        )
        .route(
            "/targets/{*id}",
            get(async |State(site): State<Site>, Path(id): Path<String>, asked: Asked| site.target(&id, &asked).await),
        )
        .route("/favicon.svg", get(async |State(site): State<Site>| site.icon()))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", page::STYLE.as_str())))
        .route("/app.js", get(async || asset("text/javascript; charset=utf-8", include_str!("app.js"))))
        // Pages alone: an event must not wait for the next one to fill a block.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .merge(events::router())
        .merge(formats::router(&site.hub, site.access.scheme()))
        .route("/healthz", get(async || asset("text/plain; charset=utf-8", "ok\n")))
        .fallback(async |State(site): State<Site>, headers: HeaderMap, uri: Uri, asked: Asked| {
            site.nowhere(&headers, &uri, &asked)
        })
        .layer(middleware::from_fn(keep_theme))
        .layer(middleware::map_response(async |mut response: Response| {
            response.headers_mut().extend(POLICY);
            response
        }))
        .with_state(site)
}

/// What a request asks of a page: in its query, and in the cookie of the theme.
impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let cookies = parts.headers.get(header::COOKIE).and_then(|cookies| cookies.to_str().ok());
        let theme = Theme::of_cookies(cookies.unwrap_or_default());
        Ok(Self { theme, ..Self::of(parts.uri.query().unwrap_or_default()) })
    }
}

/// Answers a request that names a theme by a cookie, and the way to the same page without that name. The way is a query
/// alone: it leads to no other path and no other host, whatever was asked for.
async fn keep_theme(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let (themes, rest): (Vec<_>, Vec<_>) =
        query.split('&').partition(|pair| pair.strip_prefix(theme::NAME).is_some_and(|rest| rest.starts_with('=')));
    let Some((_, word)) = themes.last().and_then(|pair| pair.split_once('=')) else {
        return next.run(request).await;
    };
    let headers = [
        (header::SET_COOKIE, Theme::of(word).cookie()),
        (header::LOCATION, format!("?{}", rest.join("&"))),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

#[derive(Clone)]
struct Site {
    hub: Arc<Hub>,
    agents: Agents,
    archive: Archive,
    known: Known,
    access: Arc<Access>,
    shutdown: CancellationToken,
    readers: Arc<Semaphore>,
}

impl Site {
    fn front(&self, asked: &Asked) -> Response {
        self.look(asked, |view| (StatusCode::OK, page::front(view).into_string()))
    }

    fn scorecard(&self, asked: &Asked) -> Response {
        self.look(asked, |view| (StatusCode::OK, page::scorecard(view).into_string()))
    }

    fn vantage(&self, name: &str, asked: &Asked) -> Response {
        self.look(asked, |view| match page::vantage(view, name) {
            Some(html) => (StatusCode::OK, html.into_string()),
            None => (StatusCode::NOT_FOUND, page::absent(view, "vantage", name).into_string()),
        })
    }

    async fn target(&self, id: &str, asked: &Asked) -> Response {
        let id = TargetId::from(id);
        let catalog = self.known.catalog.targets.get(&id);
        let counts = if catalog.is_some() { self.counts(id.clone()).await } else { None };
        let learned = self.hub.learned();
        let known = page::target::Known { catalog, learned: learned.get(&id), counts: counts.as_deref() };
        self.look(asked, |view| match page::target(view, &id, known) {
            Some(html) => (StatusCode::OK, html.into_string()),
            None => (StatusCode::NOT_FOUND, page::absent(view, "target", id.as_str()).into_string()),
        })
    }

    /// The answer to whoever asks for what there is not.
    fn nowhere(&self, headers: &HeaderMap, uri: &Uri, asked: &Asked) -> Response {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        if kind.starts_with(b"application/grpc") {
            return Status::unimplemented(format!("there is no {}", uri.path())).into_http();
        }
        self.look(asked, |view| (StatusCode::NOT_FOUND, page::absent(view, "page", uri.path()).into_string()))
    }

    /// The counts of a target. `None` where the log cannot be read, or too many read it already.
    async fn counts(&self, id: TargetId) -> Option<Vec<(i64, Part)>> {
        let place = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        let now = Timestamp::from_micros(self.hub.clock().now_micros());
        let hours = (counts::hour(now.before(page::target::COUNTED)), counts::hour(now) + 1);
        let data = self.known.data.clone();
        let read = task::spawn_blocking(move || {
            let _held = place;
            SqliteReader::open(&data)?.counts_of(By::Target, id.as_str(), hours)
        });
        match read.await {
            Ok(Ok(counts)) => Some(counts),
            Ok(Err(error)) => {
                tracing::warn!(%error, "counts cannot be read");
                None
            }
            Err(error) => {
                tracing::error!(%error, "counts cannot be read");
                None
            }
        }
    }

    fn icon(&self) -> Response {
        let icon = self.view(&Asked::default(), page::icon);
        ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-store")], icon).into_response()
    }

    fn look(&self, asked: &Asked, render: impl FnOnce(&View<'_>) -> (StatusCode, String)) -> Response {
        let (status, html) = self.view(asked, render);
        (status, [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response()
    }

    fn view<T>(&self, asked: &Asked, look: impl FnOnce(&View<'_>) -> T) -> T {
        let agents = (self.agents)();
        let now = Timestamp::from_micros(self.hub.clock().now_micros());
        let board = &self.hub.board();
        let official_lead = page::scorecard::official_lead(board, now);
        look(&View { board, agents: &agents, now, asked, official_lead, copied: None })
    }
}

fn asset(content_type: &'static str, content: &'static str) -> Response {
    // Asked for again on each visit: a newer build may have changed it.
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], content).into_response()
}

#[cfg(test)]
mod tests;
