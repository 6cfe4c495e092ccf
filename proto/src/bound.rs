//! What an agent signs with its bound key, and how long what goes with it may be.
//!
//! Rules: what is signed begins with what it is for, so that a signature made for one call is good for no other; each part stands
//! behind its length, so that no two requests come to the same bytes.

/// Bytes of a public key. Source: RFC 8032.
pub const KEY_BYTES: usize = 32;

/// Bytes of a machine's fingerprint: a SHA-256 digest.
pub const FINGERPRINT_BYTES: usize = 32;

/// Bytes of a challenge, at most.
pub const MAX_NONCE_BYTES: usize = 128;

/// A machine's fingerprint.
pub type Fingerprint = [u8; FINGERPRINT_BYTES];

const BOUND: &str = "faultline.enroll.v1 bound key";
const RECOVER: &str = "faultline.enroll.v1 recover";

/// What proves at enrolment that the agent holds the key which it binds.
pub fn binding(csr_der: &[u8]) -> Vec<u8> {
    message(BOUND, &[csr_der])
}

/// What proves at recovery that the agent is the one which bound the key.
pub fn recovering(agent: &str, nonce: &[u8], csr_der: &[u8], fingerprint: &[u8]) -> Vec<u8> {
    message(RECOVER, &[agent.as_bytes(), nonce, csr_der, fingerprint])
}

fn message(what_for: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = what_for.as_bytes().to_vec();
    message.push(0);
    for part in parts {
        message.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend(*part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_are_the_same_bytes() {
        let all = [
            binding(b"csr"),
            binding(b"csrn"),
            recovering("fra-1", b"nonce", b"csr", b"f"),
            recovering("fra-1n", b"once", b"csr", b"f"),
            recovering("fra-1", b"noncec", b"sr", b"f"),
            recovering("fra-1", b"nonce", b"csrf", b""),
            recovering("fra-2", b"nonce", b"csr", b"f"),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|other| one != other), "{n}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_contract() {
        assert_eq!(binding(b"ab"), b"faultline.enroll.v1 bound key\0\0\0\0\x02ab");
    }
}
