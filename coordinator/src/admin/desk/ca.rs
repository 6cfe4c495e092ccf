//! Rotation of the certificate authority, as operators ask for it: one step at a time, each when every agent is ready.
//!
//! Rule: whoever may connect is waited for, also while it is away: only it can say that it trusts the next root. What was done on
//! disk is shown and signed with at once; a restart in between finds the same.

use std::collections::BTreeMap;

use tokio::task;

use super::{Desk, Done, Refused, Signers, Why};
use crate::{
    admin::{Ca, Rotation},
    ingest::{Told, Trust},
    pki::{
        PkiError,
        rotation::{self, Bundle, Phase},
    },
};

impl Desk {
    pub(super) async fn rotate(&self, asked: Ca) -> Result<Done, Refused> {
        let data = &self.signers.data;
        let phase = rotation::phase(data);
        let bundle = Bundle::of(data).map_err(|error| failed(&error))?;
        let now = self.readiness(phase, &bundle);
        if !asked.go_on || !(now.waiting.is_empty() || asked.force) {
            return Ok(Done::Ca(now));
        }
        let (folder, at) = (data.clone(), self.now().micros());
        let stepped = task::spawn_blocking(move || match phase {
            Phase::Steady => rotation::prepare(&folder, at),
            Phase::Prepared => rotation::switch(&folder),
            Phase::Switched => rotation::retire(&folder),
        });
        stepped.await.map_err(|error| Refused::new(Why::Failed, error.to_string()))?.map_err(|error| failed(&error))?;
        let trust = self.signers.take_up().map_err(|error| failed(&error))?;
        let after = self.readiness(rotation::phase(data), &trust.bundle);
        self.ingest.trust(trust);
        Ok(Done::Ca(Rotation { has_gone_on: true, ..after }))
    }

    /// Who is ready for the next step.
    fn readiness(&self, phase: Phase, bundle: &Bundle) -> Rotation {
        let mut told: BTreeMap<String, Told> =
            self.ingest.agents().into_iter().map(|view| (view.agent.to_string(), view.told)).collect();
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for agent in self.ingest.issued() {
            match why_not(phase, bundle, told.remove(&agent).as_ref()) {
                None => ready.push(agent),
                Some(why) => waiting.push((agent, why.to_owned())),
            }
        }
        Rotation { phase, has_gone_on: false, ready, waiting }
    }
}

impl Signers {
    /// Shows, trusts and signs with what the data directory has by now. Blocks on the disk.
    pub(crate) fn take_up(&self) -> Result<Trust, PkiError> {
        self.port.reload()?;
        self.enrolment.reload()?;
        let is_turned = rotation::phase(&self.data) == Phase::Switched;
        Ok(Trust { bundle: Bundle::of(&self.data)?.into(), is_turned })
    }
}

/// Why an agent is not ready for the next step.
fn why_not(phase: Phase, bundle: &Bundle, told: Option<&Told>) -> Option<&'static str> {
    let Some(told) = told else {
        let is_needed = phase != Phase::Steady;
        return is_needed.then_some("it has never connected: issue it anew after the switch");
    };
    match phase {
        Phase::Steady => None,
        Phase::Prepared if told.trust_bundle == bundle.digest => None,
        Phase::Prepared if told.trust_bundle.is_empty() => {
            Some("it has not said since the coordinator started which roots it trusts")
        }
        Phase::Prepared => Some("it does not trust the next root yet"),
        Phase::Switched if told.signer == bundle.signer => None,
        Phase::Switched => Some("its certificate is of the former authority, or it has not been here since the start"),
    }
}

fn failed(error: &PkiError) -> Refused {
    Refused::new(Why::Failed, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_ready_when_it_has_said_so() {
        let bundle = Bundle { digest: vec![2; 32], signer: "next".into(), ..Bundle::default() };
        let told = |trusts: u8, signer: &str| Told {
            trust_bundle: if trusts == 0 { Vec::new() } else { vec![trusts; 32] },
            signer: signer.into(),
            ..Told::default()
        };
        let ready = |phase, told: Option<&Told>| why_not(phase, &bundle, told).is_none();
        assert!(ready(Phase::Steady, None) && !ready(Phase::Prepared, None) && !ready(Phase::Switched, None));
        assert!(ready(Phase::Prepared, Some(&told(2, "first"))));
        assert!(!ready(Phase::Prepared, Some(&told(1, "first"))) && !ready(Phase::Prepared, Some(&told(0, "next"))));
        assert!(ready(Phase::Switched, Some(&told(2, "next"))) && !ready(Phase::Switched, Some(&told(2, "first"))));
    }
}
