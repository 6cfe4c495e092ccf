//! An emulated internet on loopback addresses: real DNS, TCP, TLS, HTTP and QUIC servers that misbehave on request.
//!
//! `world` says what exists, `net` runs it, `scenario` says what breaks and what the truth then is. Nothing here needs
//! root, and nothing here decides a verdict: agents and coordinator are the real ones and see only packets.

pub mod alone;
pub mod attack;
pub mod audience;
pub mod case;
pub mod chaos;
pub mod fleet;
pub mod fuzz;
pub mod herd;
pub mod honest;
pub mod ingest;
pub mod judge;
pub mod lag;
pub mod load;
pub mod net;
pub mod parity;
pub mod play;
pub mod programs;
pub mod restart;
pub mod scenario;
pub mod score;
pub mod scripted;
pub mod sim;
pub mod simulation;
pub mod stage;
pub mod world;

pub use net::{Net, NetError};
pub use scenario::{Break, Scenario, ScenarioError, Truth};
pub use world::World;
