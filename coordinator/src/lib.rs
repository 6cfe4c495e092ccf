//! The Faultline coordinator: results come in over mutual TLS, are stored, attributed, and published as a feed.
//!
//! One direction: [`ingest`] -> [`log`] -> [`observe`] -> the engine of `faultline-attribution` -> [`board`] ->
//! [`feed`]. [`fold`] drives that path tick by tick, [`tick`] says when; [`serve`] starts all rooms. [`replay`] drives the
//! same engine from recorded [`results`].

pub mod access;
pub mod admin;
pub mod assignment;
pub mod backup;
pub mod board;
pub mod catalog;
pub mod claims;
pub mod cli;
pub mod counts;
pub mod enroll;
pub mod failpoints;
pub mod feed;
pub mod fold;
pub mod history;
pub mod ingest;
pub mod local_agent;
pub mod log;
pub mod measure;
pub mod metrics;
pub mod observe;
pub mod pace;
pub mod pki;
pub mod ranges;
pub mod record;
mod refusal;
pub mod registry;
pub mod replay;
pub mod report;
pub mod results;
pub mod retention;
pub mod rpc;
pub mod serve;
pub mod tick;
pub mod webhook;
pub mod work;
pub mod world_file;
