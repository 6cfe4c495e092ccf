//! Every fuzz target on its corpus and on two thousand mutations of it. `faultline-lab fuzz` goes on from there.

use std::path::Path;

use faultline_lab::fuzz::{self, Target};

const CASES: u64 = 2000;

fn holds(name: &str) {
    let target: &Target = fuzz::targets().iter().find(|target| target.name == name).expect("a target of this name");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let tried = target.fuzz(&corpus, 1, 0, |case| case < CASES);
    let tried = tried.unwrap_or_else(|error| panic!("{error}"));
    assert!(tried > CASES, "the corpus was not tried");
}

#[test]
fn no_body_breaks_a_session() {
    holds("session");
}

#[test]
fn no_batch_breaks_what_reads_the_log() {
    holds("batch");
}

#[test]
fn no_record_breaks_what_reads_the_log() {
    holds("record");
}

#[test]
fn no_catalog_breaks_its_reader() {
    holds("catalog");
}

#[test]
fn no_published_list_breaks_its_reader() {
    for publisher in ["aws", "azure", "gcp", "cloudflare", "fastly"] {
        holds(&format!("ranges-{publisher}"));
    }
}

#[test]
fn no_status_page_breaks_its_reader() {
    holds("claims");
}

#[test]
fn every_target_is_tried_here() {
    let tried = ["session", "batch", "record", "catalog", "claims"].len() + 5;
    assert_eq!(fuzz::targets().len(), tried, "a target without a test");
}
