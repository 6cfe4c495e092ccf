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
    use std::{fs, path::Path};

    use faultline_proto::failpoint::named_in;

    use super::*;

    #[test]
    fn the_list_holds_what_the_sources_reach() {
        let mut found = Vec::new();
        search(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let mut listed = NAMES.to_vec();
        listed.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, listed);
        assert!(NAMES.iter().all(|name| [Some("before"), Some("after")].contains(&name.split('.').next_back())));
    }

    fn search(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                search(&path, found);
            } else {
                let source = fs::read_to_string(&path).expect("source");
                found.extend(named_in(&source).map(str::to_owned));
            }
        }
    }
}
