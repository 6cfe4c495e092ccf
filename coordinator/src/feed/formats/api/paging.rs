//! Pages of incidents: `page_size` and `page_token` as Google's AIP-158 has them.
//!
//! A token names the last incident of the page before, with a checksum over it and the feed: opaque to readers, and one that
//! was made up, cut or taken from another feed is refused. Rule: incidents are in the order in which they were opened, the
//! newest first, and that order never changes; whoever follows the tokens sees every incident of the first page's moment once.

use axum::http::StatusCode;
use data_encoding::BASE64URL_NOPAD;
use faultline_attribution::{Change, IncidentId, Timestamp};
use serde::Deserialize;

use crate::{
    board::Board,
    feed::formats::answer::{Problem, echo},
};

/// Incidents on a page: without a wish, and at most.
const SIZE: (usize, usize) = (50, 100);

/// Which page is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Incidents wanted; 0 for no wish, more than there may be is as much as may be.
    #[serde(default)]
    pub(super) page_size: i64,
    /// `next_page_token` of the page before; empty for the first.
    #[serde(default)]
    pub(super) page_token: String,
}

/// A page.
pub(super) struct Page<'a> {
    pub(super) incidents: Vec<&'a Change>,
    /// Empty on the last.
    pub(super) next_page_token: String,
}

/// The page that is asked for.
pub(super) fn page<'a>(board: &'a Board, query: &PageQuery) -> Result<Page<'a>, Problem> {
    let size = match usize::try_from(query.page_size) {
        Ok(0) => SIZE.0,
        Ok(size) => size.min(SIZE.1),
        Err(_) => return Err(refused("PAGE_SIZE_INVALID", format!("page_size {} is negative", query.page_size))),
    };
    let after = if query.page_token.is_empty() { None } else { Some(read(&board.feed_id, &query.page_token)?) };
    let mut rest = board.incidents().skip_while(|change| match &after {
        Some(last) => key(change) >= (last.0, &last.1),
        None => false,
    });
    let incidents: Vec<_> = rest.by_ref().take(size).collect();
    let next_page_token = match (rest.next(), incidents.last()) {
        (Some(_), Some(last)) => token(&board.feed_id, last),
        _ => String::new(),
    };
    Ok(Page { incidents, next_page_token })
}

fn key(change: &Change) -> (Timestamp, &IncidentId) {
    (change.opened_at, &change.incident)
}

fn token(feed_id: &str, last: &Change) -> String {
    let place = format!("{}.{}", last.opened_at.micros(), last.incident);
    let sum = checksum(feed_id, place.as_bytes()).to_be_bytes();
    BASE64URL_NOPAD.encode(&[&sum, place.as_bytes()].concat())
}

fn read(feed_id: &str, token: &str) -> Result<(Timestamp, IncidentId), Problem> {
    let read = || {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (sum, place) = bytes.split_first_chunk::<4>()?;
        if u32::from_be_bytes(*sum) != checksum(feed_id, place) {
            return None;
        }
        let (opened_at, id) = str::from_utf8(place).ok()?.split_once('.')?;
        Some((Timestamp::from_micros(opened_at.parse().ok()?), IncidentId::from(id.to_owned())))
    };
    read().ok_or_else(|| {
        let detail = format!("page_token {:?} is not of this feed: start with the first page", echo(token));
        refused("PAGE_TOKEN_INVALID", detail)
    })
}

fn checksum(feed_id: &str, place: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(feed_id.as_bytes()), place)
}

fn refused(reason: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::formats::examples::{self, change};

    fn ids(page: &Page<'_>) -> Vec<String> {
        page.incidents.iter().map(|change| change.incident.to_string()).collect()
    }

    fn ask(board: &Board, page_size: i64, page_token: &str) -> Result<Vec<String>, Problem> {
        page(board, &PageQuery { page_size, page_token: page_token.into() }).map(|page| ids(&page))
    }

    fn seven() -> Board {
        examples::board((1..=7).map(|n| examples::incident(change(n))).collect())
    }

    #[test]
    fn pages_follow_one_another_without_gap_or_overlap() {
        let board = seven();
        let all = ask(&board, 0, "").expect("page");
        assert_eq!(all.len(), 7);
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = page(&board, &PageQuery { page_size: 3, page_token }).expect("page");
            seen.extend(ids(&page));
            page_token = page.next_page_token.clone();
            if page_token.is_empty() {
                break;
            }
            assert_eq!(page.incidents.len(), 3);
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn what_is_opened_meanwhile_moves_no_page() {
        let mut board = seven();
        let token = page(&board, &PageQuery { page_size: 3, page_token: String::new() }).expect("page").next_page_token;
        let rest = ask(&board, 9, &token).expect("page");
        board.apply(&examples::entry(8, examples::incident(change(8))));
        assert_eq!(ask(&board, 9, &token).expect("page"), rest);
    }

    #[test]
    fn a_token_that_was_not_given_out_is_refused() {
        let board = seven();
        let good = page(&board, &PageQuery { page_size: 1, page_token: String::new() }).expect("page").next_page_token;
        let mut elsewhere = seven();
        elsewhere.feed_id = "another".into();
        let strange = page(&elsewhere, &PageQuery { page_size: 1, ..PageQuery::default() }).expect("page");
        for token in [&good[1..], "x", "!!", "AAAAAA", &strange.next_page_token] {
            let refused = ask(&board, 1, token).expect_err("refused");
            assert_eq!((refused.status, refused.reason), (StatusCode::BAD_REQUEST, "PAGE_TOKEN_INVALID"), "{token}");
        }
        assert_eq!(ask(&board, -1, "").expect_err("refused").reason, "PAGE_SIZE_INVALID");
        assert_eq!(ask(&board, i64::MAX, "").expect("page").len(), 7);
    }
}
