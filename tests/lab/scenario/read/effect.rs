//! Effects by their words.

use std::time::Duration;

use crate::net::{ConnectEffect, DnsEffect, Effect, HttpEffect, TlsEffect};

/// What the survivors of a lossy path lose where the file does not say.
const LOSS_DELAY_MS: u64 = 250;

/// The effect of that layer and word, with what goes with it.
pub(super) fn effect(layer: &str, word: &str, status: Option<u16>, delay_ms: Option<u64>) -> Result<Effect, String> {
    let delay = || {
        let delay = delay_ms.filter(|delay| *delay > 0).ok_or("effect = \"slow\" needs delay_ms above 0")?;
        Ok::<_, String>(Duration::from_millis(delay))
    };
    let effect = match (layer, word) {
        ("dns", "nxdomain") => Effect::Dns(DnsEffect::Nxdomain),
        ("dns", "servfail") => Effect::Dns(DnsEffect::Servfail),
        ("dns", "refused") => Effect::Dns(DnsEffect::Refused),
        ("dns", "empty_answer") => Effect::Dns(DnsEffect::EmptyAnswer),
        ("dns", "timeout") => Effect::Dns(DnsEffect::Timeout),
        ("dns", "wrong_answer") => Effect::Dns(DnsEffect::WrongAnswer),
        ("dns", "slow") => Effect::Dns(DnsEffect::Slow(delay()?)),
        ("connect", "refused") => Effect::Connect(ConnectEffect::Refused),
        ("connect", "timeout") => Effect::Connect(ConnectEffect::Timeout),
        ("connect", "reset") => Effect::Connect(ConnectEffect::Reset),
        ("connect", "unreachable") => Effect::Connect(ConnectEffect::Unreachable),
        ("connect", "loss") => {
            Effect::Connect(ConnectEffect::Loss(Duration::from_millis(delay_ms.unwrap_or(LOSS_DELAY_MS))))
        }
        ("connect", "slow") => Effect::Connect(ConnectEffect::Slow(delay()?)),
        ("tls", "timeout") => Effect::Tls(TlsEffect::Timeout),
        ("tls", "reset") => Effect::Tls(TlsEffect::Reset),
        ("tls", "cert_expired") => Effect::Tls(TlsEffect::CertExpired),
        ("tls", "name_mismatch") => Effect::Tls(TlsEffect::NameMismatch),
        ("tls", "unknown_issuer") => Effect::Tls(TlsEffect::UnknownIssuer),
        ("tls", "self_signed") => Effect::Tls(TlsEffect::SelfSigned),
        ("tls", "slow") => Effect::Tls(TlsEffect::Slow(delay()?)),
        ("http", "timeout") => Effect::Http(HttpEffect::Timeout),
        ("http", "reset") => Effect::Http(HttpEffect::Reset),
        ("http", "status") => {
            let status = status.filter(|status| (200..600).contains(status));
            Effect::Http(HttpEffect::Status(status.ok_or("effect = \"status\" needs status = 200 to 599")?))
        }
        ("http", "slow") => Effect::Http(HttpEffect::Slow(delay()?)),
        ("dns" | "connect" | "tls" | "http", word) => {
            return Err(format!("effect = {word:?} is none of layer {layer:?}"));
        }
        (layer, _) => return Err(format!("layer = {layer:?} is none of dns, connect, tls, http")),
    };
    if status.is_some() && word != "status" {
        return Err(format!("status goes with effect = \"status\", not {word:?}"));
    }
    if delay_ms.is_some() && !matches!(word, "slow" | "loss") {
        return Err(format!("delay_ms goes with effect = \"slow\" or \"loss\", not {word:?}"));
    }
    Ok(effect)
}
