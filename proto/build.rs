//! Compiles the contracts with protox, so that no `protoc` is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const ROOT: &str = "proto";
const CONTRACTS: [&str; 8] = [
    "faultline/types/v1/probe.proto",
    "faultline/types/v1/incident.proto",
    "faultline/types/v1/claim.proto",
    "faultline/types/v1/work.proto",
    "faultline/agent/v1/session_service.proto",
    "faultline/enroll/v1/enrollment_service.proto",
    "faultline/feed/v1/feed_service.proto",
    "faultline/measure/v1alpha1/measure_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let descriptors = protox::compile(CONTRACTS, [ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("faultline.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc.Status", "::tonic_types::pb::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
