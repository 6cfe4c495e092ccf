//! The bench: methods judge cases blind, and are scored against the truth.
//!
//! One direction: a case (`case`) goes blind (`method`) to a method (`engine`, `baseline`), whose timeline is judged
//! (`judged`), summed up (`summary`) and reported (`report`). `run` does that for many cases at once; `entry` makes them
//! from scenarios, `foreign` from files. `quiet` counts false incidents over days, `cost` measures the engine alone.

pub mod baseline;
pub mod components;
pub mod cost;
pub mod engine;
pub mod entry;
pub mod foreign;
pub mod judged;
pub mod method;
pub mod optimum;
pub mod quiet;
pub mod report;
pub mod run;
pub mod stats;
pub mod summary;
pub mod table;

pub use method::{Answer, Blind, Method};
