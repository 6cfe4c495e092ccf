//! Prometheus: probes on request, as `blackbox_exporter` answers them, from the same file of modules.
//!
//! [`modules`] says what is asked of a target and what is expected.
//!
//! Rules: what `blackbox_exporter`'s file may say is understood or refused by name, never passed over.

pub mod modules;
