//! One batch: admitted, durable, told to those who wait for it, acknowledged; in that order.

use bytes::Bytes;
use faultline_attribution::Timestamp;
use faultline_proto::agent::v1::{BatchAck, Lane, LaneCursor, session_response::Message as Reply};
use tonic::{Code, Status};

use super::{
    Session,
    refusals::{superseded, unavailable},
};
use crate::{
    ingest::admit::{self, Admitted, Fault},
    log::{Admission, Appended},
    measure,
    record::{Record, RecordKind},
    refusal,
};

impl Session<'_> {
    pub(super) async fn store(&self, bytes: Bytes, received_at: Timestamp) -> Result<(), Status> {
        faultline_proto::failpoint::reach("ingest.receive.before");
        let table = self.ingest.assignments.table(&self.agent);
        let is_known = |slot| table.slots.contains_key(&slot);
        let Admitted { cursor, first_number, payload, results, has_failure, rejections, skipped_runs } =
            admit::admit(bytes, is_known).map_err(|fault| match fault {
                Fault::NoPlace(_) => refusal::status(Code::InvalidArgument, "BATCH_MALFORMED", fault.to_string()),
                Fault::Decode(_) => refusal::status(Code::InvalidArgument, "MESSAGE_MALFORMED", fault.to_string()),
            })?;
        let record = Record {
            kind: RecordKind::Batch,
            received_at,
            agent: self.agent.to_string(),
            incarnation: self.incarnation.clone(),
            epoch: self.epoch,
            lane: u8::try_from(cursor.lane).unwrap_or_default(),
            number: cursor.number,
            payload,
        };
        faultline_proto::failpoint::reach("ingest.receive.after");
        let payload = record.payload.clone();
        let ahead = self.ingest.pace.enter(record.payload.len()).await;
        let appended = self.ingest.log.append(Admission::Batch { first_number }, record).await;
        let durable = match appended.map_err(|error| unavailable(&error))? {
            Appended::At(_) => {
                ahead.stored();
                let refused = rejections.iter().map(|rejection| rejection.rejected_results as usize).sum();
                if cursor.lane() == Lane::Live {
                    self.ingest.news.batch(has_failure);
                }
                self.ingest.taken.stored(results.saturating_sub(refused), refused);
                self.ingest.tap.show(results.saturating_sub(refused), || measure::Batch {
                    received_at,
                    vantage: self.ingest.vantage(&self.agent),
                    table,
                    is_backlog: cursor.lane() == Lane::Backfill,
                    payload,
                });
                self.note(|presence| presence.told.skip(&self.agent, skipped_runs));
                cursor.number
            }
            Appended::Duplicate { durable } => {
                self.ingest.taken.repeated();
                durable
            }
            Appended::Gap { expected } => {
                let message = format!("lane {}: number {}, expected {expected}", cursor.lane, cursor.number);
                return Err(refusal::status(Code::Aborted, "BATCH_OUT_OF_ORDER", message));
            }
            Appended::Fenced => return Err(superseded(self.ingest.cloned(&self.agent))),
        };
        let durable = vec![LaneCursor { lane: cursor.lane, number: durable }];
        let max_inflight_batches = Some(self.ingest.credit());
        faultline_proto::failpoint::reach("ingest.ack.before");
        self.reply(Reply::BatchAck(BatchAck { durable, rejections, max_inflight_batches })).await?;
        faultline_proto::failpoint::reach("ingest.ack.after");
        Ok(())
    }
}
