//! Who gets in, by what, and how much of it: the rules of tokens, roles and shares.

use std::fs;

use super::{tokens::TokenError, *};

const LOCAL: [u8; 4] = [127, 0, 0, 1];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

fn peer(address: impl Into<IpAddr>, is_private: bool) -> Peer {
    Peer { address: SocketAddr::new(address.into(), 1), is_private }
}

fn desk(anonymous: bool) -> (tempfile::TempDir, Access, Tokens) {
    let data = tempfile::tempdir().expect("dir");
    let access = Access::new(&Policy { anonymous, ..Policy::default() }, data.path(), Clock::system());
    let tokens = Tokens::of(data.path());
    (data, access, tokens)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_micros(Clock::system().now_micros() + seconds * 1_000_000)
}

#[test]
fn a_token_is_good_from_when_it_is_made_until_it_is_revoked_or_expires() {
    let (data, access, tokens) = desk(false);
    let token = tokens.create("noc", vec![Role::Operator], Some(3), later(60)).expect("made");
    assert!(matches!(tokens.create("noc", Vec::new(), None, later(60)), Err(TokenError::Taken(_))));
    let caller = access.admit(peer(LOCAL, true), Some(&token)).expect("good");
    assert_eq!((&caller.key, caller.streams), (&Key::Token("noc".into()), 3));
    assert_eq!(caller.must_be(Role::Operator), Ok(()));
    assert_eq!(caller.must_be(Role::MeasureRead), Err(Denied::RoleRequired(Role::MeasureRead)));
    let secret = token.rsplit_once('.').expect("parts").1;
    let file = fs::read_to_string(data.path().join("subscribers/noc.toml")).expect("file");
    assert!(!file.contains(secret), "the secret is not kept");
    assert!(access.is_welcome(&caller));
    assert!(tokens.revoke("noc").expect("revoked") && !tokens.revoke("noc").expect("gone already"));
    assert_eq!(access.admit(peer(LOCAL, true), Some(&token)).map(|_| ()), Err(Denied::TokenUnknown));
    assert!(!access.is_welcome(&caller), "its streams end");
    let expired = tokens.create("old", Vec::new(), None, later(-1)).expect("made");
    assert_eq!(access.admit(peer(LOCAL, true), Some(&expired)).map(|_| ()), Err(Denied::TokenUnknown));
}

#[test]
fn a_token_that_is_not_exactly_one_is_refused() {
    let (_data, access, tokens) = desk(true);
    let token = tokens.create("noc", Vec::new(), None, later(60)).expect("made");
    let other = tokens.create("other", Vec::new(), None, later(60)).expect("made");
    let secret = |token: &str| token.rsplit_once('.').expect("parts").1.to_owned();
    let wrong = [
        format!("fls1.noc.{}", secret(&other)),
        format!("fls1.nobody.{}", secret(&token)),
        format!("fls1.../subscribers/noc.{}", secret(&token)),
        format!("{token}x"),
        token[..token.len() - 1].to_owned(),
        "fls1.noc.".into(),
        "fls1.".into(),
        String::new(),
    ];
    for token in wrong {
        assert_eq!(access.admit(peer(LOCAL, true), Some(&token)).map(|_| ()), Err(Denied::TokenUnknown), "{token}");
    }
}

#[test]
fn a_token_over_plaintext_from_elsewhere_is_refused_even_if_it_is_good() {
    let (_data, access, tokens) = desk(true);
    let token = tokens.create("noc", Vec::new(), None, later(60)).expect("made");
    let over_plaintext = access.admit(peer(OUTSIDE, false), Some(&token)).map(|_| ());
    assert_eq!(over_plaintext, Err(Denied::TokenOverPlaintext));
    assert!(access.admit(peer(OUTSIDE, true), Some(&token)).is_ok());
}

#[test]
fn nobody_reads_without_a_token_where_that_is_not_allowed() {
    let (_data, access, _) = desk(false);
    assert_eq!(access.admit(peer(LOCAL, true), None).map(|_| ()), Err(Denied::TokenRequired));
    let (_data, access, _) = desk(true);
    assert_eq!(access.admit(peer(OUTSIDE, false), None).expect("reads").key, Key::Address(OUTSIDE.into()));
}

#[test]
fn an_address_has_a_share_of_streams_and_calls_and_takes_nothing_from_others() {
    let (_data, access, tokens) = desk(true);
    let token = tokens.create("noc", Vec::new(), Some(2), later(60)).expect("made");
    let callers = [
        (access.admit(peer(OUTSIDE, false), None).expect("reads"), STREAMS.of_one),
        (access.admit(peer(LOCAL, true), Some(&token)).expect("good"), 2),
    ];
    let mut held = Vec::new();
    for (caller, share) in &callers {
        held.extend((0..*share).map(|_| access.stream(caller).expect("a place")));
        assert_eq!(access.stream(caller).map(|_| ()), Err(Denied::StreamLimit));
    }
    drop(held);
    assert!(access.stream(&callers[0].0).is_ok(), "places come back");
    let (caller, calls) = (&callers[0].0, CALLS.1);
    let refused = (0..=calls).map(|_| access.count(caller)).find_map(Result::err).expect("one is too many");
    assert!(
        matches!(refused, Denied::RateLimit(pause) if !pause.is_zero() && pause < Duration::from_secs(1)),
        "{refused}"
    );
    assert!(refused.pause().is_some());
    assert!(access.count(&callers[1].0).is_ok());
    let local = access.admit(peer(LOCAL, true), None).expect("reads");
    assert!((0..calls * 3).all(|_| access.count(&local).is_ok()), "a proxy may bring many");
}
