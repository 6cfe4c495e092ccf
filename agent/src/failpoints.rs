//! Where a kill test may end the agent, in the order of a result's way: [`faultline_proto::failpoint`] says how.
//!
//! Rule: the list holds every name that the sources reach, each once (`the_list_holds_what_the_sources_reach`), so that a
//! kill test knows whether it has been everywhere.

/// Every name.
pub const NAMES: &[&str] = &[
    "made.count.before",
    "made.count.after",
    "spool.seal.before",
    "spool.seal.after",
    "spool.write.before",
    "spool.write.after",
    "spool.commit.before",
    "spool.commit.after",
    "spool.move.before",
    "spool.move.after",
    "uplink.send.before",
    "uplink.send.after",
    "uplink.ack.before",
    "uplink.ack.after",
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
