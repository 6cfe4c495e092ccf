//! A codec that writes batches as they were encoded, and reads what the coordinator says.
//!
//! Rule: what goes over the wire is what an agent's codec would write: `SessionRequest` with one field.

use bytes::BufMut as _;
use faultline_proto::agent::v1::{SessionRequest, SessionResponse};
use prost::{Message as _, encoding};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::ingest::batches::Batch;

/// What a session sends.
pub(super) enum Say {
    /// Anything, boxed since it is rare.
    Message(Box<SessionRequest>),
    /// A batch.
    Batch(Batch),
}

/// The codec of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoded;

impl Codec for Encoded {
    type Encode = Say;
    type Decode = SessionResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Say;
    type Error = Status;

    fn encode(&mut self, item: Say, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match item {
            Say::Message(message) => message.encode(into).map_err(|error| Status::internal(error.to_string())),
            Say::Batch(batch) => {
                let mut bytes = Vec::with_capacity(batch.size());
                batch.encode(&mut bytes);
                encoding::encode_key(RESULT_BATCH, encoding::WireType::LengthDelimited, into);
                encoding::encode_varint(bytes.len() as u64, into);
                into.put_slice(&bytes);
                Ok(())
            }
        }
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1 << 10, 32 << 10)
    }
}

/// `SessionRequest.result_batch`.
const RESULT_BATCH: u32 = 2;

impl Decoder for Encoded {
    type Item = SessionResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<SessionResponse>, Status> {
        SessionResponse::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1 << 10, 32 << 10)
    }
}
