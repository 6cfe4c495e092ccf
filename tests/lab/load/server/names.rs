//! The name server: every name is this host, and has no IPv6 address.

use std::net::Ipv4Addr;

use faultline_proto::clock::Clock;
use hickory_server::proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata::A},
};
use tokio::net::UdpSocket;

use super::{Shared, lock};

const TTL_S: u32 = 60;

/// Answers for ever.
pub(super) async fn serve(socket: UdpSocket, shared: Shared) {
    let clock = Clock::system();
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let now = clock.now_micros();
        let Ok(mut message) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(query) = message.queries.first().cloned() else { continue };
        if query.query_type == RecordType::A {
            lock(&shared).asked(&query.name.to_ascii(), now);
            let here = RData::A(A(Ipv4Addr::LOCALHOST));
            message.answers.push(Record::from_rdata(query.name, TTL_S, here));
        }
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        if let Ok(bytes) = message.to_vec() {
            // A client that is gone needs no answer.
            socket.send_to(&bytes, from).await.ok();
        }
    }
}
