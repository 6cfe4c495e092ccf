//! The contracts as they were written, for whoever builds a client from them. Rule: every `.proto` file of this crate is here
//! (test `every_contract_is_here`).

macro_rules! contract {
    ($path:literal) => {
        ($path, include_str!(concat!("../proto/", $path)))
    };
}

/// Import path and text of each contract.
pub const CONTRACTS: &[(&str, &str)] = &[
    contract!("faultline/agent/v1/session_service.proto"),
    contract!("faultline/enroll/v1/enrollment_service.proto"),
    contract!("faultline/feed/v1/feed_service.proto"),
    contract!("faultline/measure/v1alpha1/measure_service.proto"),
    contract!("faultline/types/v1/claim.proto"),
    contract!("faultline/types/v1/incident.proto"),
    contract!("faultline/types/v1/probe.proto"),
    contract!("faultline/types/v1/work.proto"),
    contract!("google/rpc/status.proto"),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_contract_is_here() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let (mut folders, mut found) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("folder") {
                let path = entry.expect("entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(&root).expect("beneath it").to_string_lossy().into_owned();
                    found.push(path);
                }
            }
        }
        found.sort();
        assert_eq!(CONTRACTS.iter().map(|(path, _)| *path).collect::<Vec<_>>(), found);
    }
}
