//! Prometheus: probes on request, as `blackbox_exporter` answers them, from the same file of modules and with the same metrics.
//!
//! [`listener`] is the port, [`modules`] says what is asked of a target, [`run`] looks, [`metrics`] says how what was seen is
//! told, [`own`] what the agent tells of itself, [`exposition`] writes it down; the exporter joins them to the agent.
//!
//! Rules: what `blackbox_exporter`'s file may say is understood or refused by name, never passed over; a metric that has
//! `blackbox_exporter`'s name has its meaning, unit, labels and absences; what is added has a name of its own.

pub mod certificate;
pub(crate) mod exporter;
pub mod exposition;
pub mod listener;
pub mod metrics;
pub mod modules;
pub mod own;
pub mod run;

pub use self::{
    exporter::{Exporter, Prometheus},
    listener::ListenerError,
};
