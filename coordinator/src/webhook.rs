//! Webhooks: the feed, carried to whoever cannot hold a stream open.
//!
//! [`config`] is the file of one, [`folder`] where the files are, [`event`] the body in its format (the state table is there), [`sign`] the signature,
//! [`schedule`] when to send again and when no more, [`send`] one POST, [`store`] how far each is and its delivery log;
//! [`deliver`] keeps a courier for each.
//!
//! Rules: at least once, and in the order of the feed; what identifies a message is the same however often it is sent.
//! Nothing that a receiver does holds up the feed, the engine or another webhook: a courier reads what is durable already.

pub mod config;
mod courier;
pub mod deliver;
pub mod event;
pub mod folder;
pub mod schedule;
pub mod send;
pub mod sign;
pub mod store;

#[cfg(test)]
mod tests;
