//! The wire contracts between agents, coordinator and subscribers, generated at build time from `proto/`.
//!
//! Rules: fields are never renumbered or reused; zero values of enums are unset and readers refuse them; the word for
//! an enum value outside the wire (TOML, JSON, logs) is its name without the prefix, in lower case ([`word`]).

/// Generated vocabulary.
pub mod types {
    /// Version 1.
    #[allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from commented .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("faultline.types.v1");
    }
}

/// Generated agent session.
pub mod agent {
    /// Version 1.
    #[allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from commented .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("faultline.agent.v1");
    }
}

/// Generated enrolment.
pub mod enroll {
    /// Version 1.
    #[allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from commented .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("faultline.enroll.v1");
    }
}

/// Generated feed.
pub mod feed {
    /// Version 1.
    #[allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from commented .proto files"
    )]
    pub mod v1 {
        tonic::include_proto!("faultline.feed.v1");
    }
}

/// Generated stream of results.
pub mod measure {
    /// Version 1, alpha: it may change.
    #[allow(
        missing_docs,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated from commented .proto files"
    )]
    pub mod v1alpha1 {
        tonic::include_proto!("faultline.measure.v1alpha1");
    }
}

pub mod address;
pub mod assignment;
pub mod bound;
pub mod clock;
pub mod contracts;
pub mod convert;
pub mod failpoint;
pub mod join;
pub mod page;
pub mod pattern;
pub mod question;

pub use convert::word;

/// Encoded size of one run's facts, at most: an agent sends none larger, a coordinator takes none.
///
/// Source: eight aliases of 255 bytes, six headers of 128 characters, six certificates of some 350 bytes and 768 bytes of names.
pub const MAX_FACTS_BYTES: usize = 8 << 10;

/// Every contract, encoded as a `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faultline.descriptors"));

/// The protocol version that this build speaks on the agent session.
pub const PROTOCOL: u32 = 1;

/// Domain of every `google.rpc.ErrorInfo` that Faultline sends.
pub const ERROR_DOMAIN: &str = "faultline";
