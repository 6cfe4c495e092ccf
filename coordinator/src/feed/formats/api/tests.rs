//! What the API answers, held against its own description.

use std::{collections::BTreeSet, sync::LazyLock};

use axum::{
    body::{self, Body},
    http::{Method, Request, header},
};
use faultline_attribution::{Cause, CellState, Kind, Layer, State as Life, Verdict};
use faultline_proto::clock::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::{
    board::Board,
    feed::formats::examples::{self, NOW, change, suspicion},
    log::{ChangeLog as _, sqlite::SqliteLog},
};

#[test]
fn every_answer_fits_its_schema() {
    let mut told = examples::cells();
    told.extend([suspicion(1), change(1), suspicion(2)].map(examples::incident));
    let seeing = examples::board(told);
    for board in [seeing.clone(), examples::blind(seeing), examples::board(Vec::new())] {
        let picture = Picture { board: &board, now: NOW };
        let query = PageQuery::default();
        let answers = [
            ("/api/v1/snapshot", snapshot(&picture)),
            ("/api/v1/cells", cells(&picture)),
            ("/api/v1/visibility", visibility(&picture)),
            ("/api/v1/incidents", incidents(&picture, &query)),
        ];
        let one = board.incidents().next().map(|change| change.incident.to_string());
        let one = one.map(|id| ("/api/v1/incidents/{id}", incident(&picture, id)));
        for (path, answer) in answers.into_iter().chain(one) {
            let schema =
                described()["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"].clone();
            fits(&schema, &read(&answer.expect("answer").body), path);
        }
    }
}

#[tokio::test]
async fn every_problem_fits_its_schema_and_has_its_reason() {
    let served = Served::new(examples::board(vec![examples::incident(change(1))]));
    for (path, status, reason) in [
        ("/api/v1/incidents/inc-x-1", 404, "INCIDENT_UNKNOWN"),
        ("/api/v1/incidents?page_token=x", 400, "PAGE_TOKEN_INVALID"),
        ("/api/v1/incidents?page_size=-1", 400, "PAGE_SIZE_INVALID"),
        ("/api/v1/incidents?page_size=many", 400, "QUERY_INVALID"),
        ("/api/v1/incidents?verdict=aws", 400, "QUERY_INVALID"),
        ("/api/v1/snapshot?region=us-east-1", 400, "QUERY_INVALID"),
        ("/api/v1/nothing", 404, "PATH_UNKNOWN"),
    ] {
        let answer = served.ask(Method::GET, path, "").await;
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/problem+json"), "{path}");
        let problem = read(&answer.body);
        fits(&json!({"$ref": "#/components/schemas/Problem"}), &problem, path);
        assert_eq!((problem["reason"].as_str(), problem["status"].as_u64()), (Some(reason), Some(u64::from(status))));
        let known = &described()["components"]["schemas"]["Problem"]["properties"]["reason"]["examples"];
        assert!(known.as_array().expect("list").contains(&json!(reason)), "{reason} is not described");
    }
    let posted = served.ask(Method::POST, "/api/v1/snapshot", "").await;
    assert_eq!((posted.status, read(&posted.body)["reason"].as_str()), (405, Some("METHOD_NOT_ALLOWED")));
}

#[tokio::test]
async fn every_described_question_is_answered() {
    let served = Served::new(examples::board(vec![examples::incident(change(1))]));
    let id = change(1).incident.to_string();
    for (path, item) in described()["paths"].as_object().expect("paths") {
        if item.get("get").is_some() {
            let answer = served.ask(Method::GET, &path.replace("{id}", &id), "").await;
            assert_eq!(answer.status, 200, "{path} is described and not served");
        }
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let served = Served::new(examples::board(vec![examples::incident(change(1))]));
    let (incidents, visibility) = ("/api/v1/incidents", "/api/v1/visibility");
    let first = served.ask(Method::GET, incidents, "").await;
    assert!(first.tag.starts_with("W/\"1-"), "{}", first.tag);
    let again = served.ask(Method::GET, incidents, &first.tag).await;
    assert_eq!((again.status, again.body.len(), again.tag), (304, 0, first.tag.clone()));
    let sight = served.ask(Method::GET, visibility, "").await.tag;
    served.hub.board().visibility.evaluated_through = NOW;
    assert_eq!(served.ask(Method::GET, visibility, &sight).await.status, 200, "what is evaluated has moved on");
    assert_eq!(served.ask(Method::GET, incidents, &first.tag).await.status, 304, "no incident has changed");
    served.hub.board().apply(&examples::entry(2, examples::incident(suspicion(2))));
    assert_eq!(served.ask(Method::GET, incidents, &first.tag).await.status, 200);
}

#[test]
fn an_incident_is_the_object_that_watch_writes() {
    let board = examples::board([suspicion(1), change(1)].map(examples::incident).into());
    let picture = Picture { board: &board, now: NOW };
    let answer = incident(&picture, change(1).incident.to_string()).expect("answer");
    let text = str::from_utf8(&answer.body).expect("text");
    let [first, newest] = [suspicion(1), change(1)].map(|change| serde_json::to_string(&change).expect("line"));
    assert!(text.contains(&format!(r#""incident":{newest},"revisions":[{first},{newest}]"#)), "{text}");
}

#[test]
fn blindness_is_told_where_the_matrix_is() {
    let board = examples::blind(examples::board(examples::cells()));
    let picture = Picture { board: &board, now: NOW };
    for answer in [cells(&picture), snapshot(&picture)] {
        let told = read(&answer.expect("answer").body);
        assert_eq!((&told["standing"], &told["visibility"]["below_quorum"]), (&json!("blind"), &json!(true)));
    }
}

#[test]
fn the_description_has_every_word_of_the_closed_lists() {
    let words = |schema: &str| -> BTreeSet<String> {
        let words = described()["components"]["schemas"][schema]["enum"].as_array().expect("list").clone();
        words.iter().map(|word| word.as_str().expect("word").to_owned()).filter(|word| !word.is_empty()).collect()
    };
    assert_eq!(words("Layer"), list(Layer::ALL, Layer::as_str));
    assert_eq!(words("Cause"), list(Cause::ALL, Cause::as_str));
    assert_eq!(words("Kind"), list(Kind::ALL, Kind::as_str));
    assert_eq!(words("State"), list(Life::ALL, Life::as_str));
    assert_eq!(words("Verdict"), list(Verdict::ALL, Verdict::as_str));
    for word in words("ElementKind") {
        assert!(word.parse::<faultline_attribution::ElementKind>().is_ok(), "{word}");
    }
    for state in [CellState::Ok, CellState::Degraded, CellState::Failing, CellState::NoData] {
        let word = serde_json::to_value(state).expect("word");
        assert!(words("CellState").contains(word.as_str().expect("word")), "{word}");
    }
}

fn list<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|one| word(*one).to_owned()).collect()
}

fn described() -> &'static Value {
    static DESCRIBED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(DESCRIPTION).expect("JSON"));
    &DESCRIBED
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

/// Asserts that the value is what the schema says, and has no field of which the schema does not tell.
fn fits(schema: &Value, value: &Value, at: &str) {
    let root = described();
    let schema = match schema["$ref"].as_str() {
        Some(place) => root.pointer(&place[1..]).unwrap_or_else(|| panic!("no {place}")),
        None => schema,
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: type {other}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is) || (is == "integer" && types.contains(&"number")), "{at}: {value} is no {types:?}");
    for (keyword, wanted) in schema.as_object().expect("schema") {
        match keyword.as_str() {
            "enum" => assert!(wanted.as_array().expect("list").contains(value), "{at}: {value} is none of {wanted}"),
            "const" => assert_eq!(value, wanted, "{at}"),
            "minimum" => assert!(value.as_f64() >= wanted.as_f64(), "{at}: {value} is below {wanted}"),
            "maximum" => assert!(value.as_f64() <= wanted.as_f64(), "{at}: {value} is above {wanted}"),
            "format" if !value.is_null() => {
                let text = value.as_str().expect("text");
                assert!(text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'), "{at}: {text} is no instant");
            }
            "items" => {
                for item in value.as_array().expect("list") {
                    fits(wanted, item, &format!("{at}/items"));
                }
            }
            "required" => {
                for name in wanted.as_array().expect("list") {
                    assert!(value.get(name.as_str().expect("name")).is_some(), "{at}: no {name}");
                }
            }
            "properties" => {
                for (name, value) in value.as_object().expect("object") {
                    let described = wanted.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
                    fits(described, value, &format!("{at}/{name}"));
                }
            }
            "type" | "format" | "description" | "examples" => {}
            other => panic!("{at}: this test does not know {other}"),
        }
    }
}

/// The routes over a board, without a socket.
struct Served {
    hub: Arc<Hub>,
    router: Router,
    _data: TempDir,
}

struct Answer {
    status: u16,
    kind: String,
    tag: String,
    body: Vec<u8>,
}

impl Served {
    fn new(mut board: Board) -> Self {
        let data = tempfile::tempdir().expect("dir");
        let log = Arc::new(SqliteLog::open(data.path()).expect("log"));
        board.feed_id = log.feed_id();
        let hub = Arc::new(Hub::new(board, log, Clock::system()));
        Self { router: router(Arc::clone(&hub)), hub, _data: data }
    }

    async fn ask(&self, method: Method, path: &str, held: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::IF_NONE_MATCH, held);
        let answer = self.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("answer");
        let text = |name| answer.headers().get(name).map_or("", |value| value.to_str().expect("text")).to_owned();
        let (kind, tag) = (text(header::CONTENT_TYPE), text(header::ETAG));
        let status = answer.status().as_u16();
        let body = body::to_bytes(answer.into_body(), 1 << 20).await.expect("body").to_vec();
        Answer { status, kind, tag, body }
    }
}
