//! Where a kill test may end the coordinator, in the order of a result's way: [`faultline_proto::failpoint`] says how.
//!
//! Rule: the list holds every name that the sources reach, each once (`the_list_holds_what_the_sources_reach`), so that a
//! kill test knows whether it has been everywhere. What is published has no names of its own: it is appended and committed
//! like all else.

/// Every name.
pub const NAMES: &[&str] = &[
    "ingest.receive.before",
    "ingest.receive.after",
    "log.append.before",
    "log.append.after",
    "log.commit.before",
    "log.commit.after",
    "ingest.ack.before",
    "ingest.ack.after",
    "fold.tick.before",
    "fold.tick.after",
    "snapshot.write.before",
    "snapshot.write.after",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use faultline_proto::failpoint::named_in;

    use super::*;

    #[test]
    fn the_list_holds_what_the_sources_reach() {
        let mut listed = NAMES.to_vec();
        listed.sort_unstable();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(named_in(&sources).expect("sources"), listed);
    }
}
