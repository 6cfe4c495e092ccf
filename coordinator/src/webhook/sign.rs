//! Sign: who sent a message, and that it is whole, by the Standard Webhooks.
//!
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`, once for each secret that is valid,
//! with a space between: while a secret is rotated, receivers that know either of them can check. A secret is `whsec_` and
//! the base64 of 24 to 64 bytes.
//!
//! Source: the Standard Webhooks specification, symmetric signatures.

use std::fmt;

use data_encoding::BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// What every secret begins with.
const PREFIX: &str = "whsec_";

/// Bytes of a secret: the least and the most.
const BYTES: (usize, usize) = (24, 64);

/// A secret that signs. Never shown but where it is asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one, of 32 random bytes.
    pub fn random() -> Self {
        Self(rand::random::<[u8; 32]>().to_vec())
    }

    /// The secret as it is handed to the receiver.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl TryFrom<String> for Secret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "a secret is whsec_ and the base64 of 24 to 64 bytes".to_owned();
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| BASE64.decode(rest.as_bytes()).ok()).ok_or_else(wrong)?;
        if (BYTES.0..=BYTES.1).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(wrong()) }
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.reveal()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_...")
    }
}

/// The value of `webhook-signature` for a message that is sent at this Unix time, in seconds.
pub fn signature(secrets: &[Secret], id: &str, unix_s: i64, body: &[u8]) -> String {
    let sign = |secret: &Secret| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0));
        context.update(format!("{id}.{unix_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::try_from(text.to_owned()).expect("secret")
    }

    #[test]
    fn a_signature_is_the_specifications_own() {
        // Source: the example of the Standard Webhooks specification.
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signature(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_rotated_both_sign() {
        let (new, old) = (Secret::random(), Secret::random());
        let both = signature(&[new.clone(), old.clone()], "id", 1, b"body");
        let each = [signature(&[new], "id", 1, b"body"), signature(&[old], "id", 1, b"body")];
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn a_secret_is_not_shown_by_accident_and_a_bad_one_is_not_repeated() {
        assert_eq!(format!("{:?}", Secret::random()), "whsec_...");
        for bad in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_%%%"] {
            let error = Secret::try_from(bad.to_owned()).expect_err(bad);
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        let secret = Secret::random();
        assert_eq!(Secret::try_from(secret.reveal()), Ok(secret));
    }
}
