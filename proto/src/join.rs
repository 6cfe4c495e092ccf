//! Join strings: `flj1.ID.SECRET.PIN`, what a machine needs to become an agent.
//!
//! ID names the string, SECRET is 256 random bits and PIN the SHA-256 of the `SubjectPublicKeyInfo` of the coordinator's root, both
//! in base64url without padding (43 characters). Rules: there is no shorter form, so that nobody joins a coordinator whose root was
//! not checked; the secret is never part of what `Debug` or an error shows.

use std::{error::Error, fmt, str::FromStr};

/// Begins every join string, so that those that leak can be found.
pub const PREFIX: &str = "flj1";

/// Server name that a machine asks for which has no certificate yet: nothing but enrolment is behind it. Nobody can own it
/// (RFC 6761).
pub const ENROLL_NAME: &str = "enroll.faultline.invalid";

/// Server name that agents ask for when their configuration names none: the coordinator's certificate always has it.
pub const SERVER_NAME: &str = "coordinator.faultline.internal";

/// A join string in its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinString {
    /// Names it: 1 to 63 of a-z, 0-9 and -.
    pub id: String,
    /// Proves it: 43 characters of base64url.
    pub secret: String,
    /// SHA-256 of the `SubjectPublicKeyInfo` of the coordinator's root, 43 characters of base64url.
    pub pin: String,
}

/// What is wrong with a join string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStringError {
    /// It begins otherwise.
    Prefix,
    /// It has not four parts.
    Parts(usize),
    /// The first part after the prefix names nothing.
    Id,
    /// This part is not 43 characters of base64url.
    Part(&'static str),
}

impl fmt::Display for JoinStringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => {
                write!(f, "no join string: one begins with {PREFIX}., as `faultline token create` prints it")
            }
            Self::Parts(count) => {
                write!(f, "a join string has 4 parts between dots, this has {count}: was it cut off?")
            }
            Self::Id => write!(f, "the id of a join string is 1 to 63 of a-z, 0-9 and -"),
            Self::Part(part) => {
                write!(f, "the {part} of a join string has {ENCODED} characters of base64url: was it cut off?")
            }
        }
    }
}

impl Error for JoinStringError {}

/// Characters of 32 bytes in base64url without padding.
const ENCODED: usize = 43;

impl FromStr for JoinString {
    type Err = JoinStringError;

    fn from_str(text: &str) -> Result<Self, JoinStringError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        if parts.first() != Some(&PREFIX) {
            return Err(JoinStringError::Prefix);
        }
        let &[_, id, secret, pin] = parts.as_slice() else { return Err(JoinStringError::Parts(parts.len())) };
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !(1..=63).contains(&id.len()) || !id.bytes().all(is_name) {
            return Err(JoinStringError::Id);
        }
        for (name, part) in [("secret", secret), ("pin", pin)] {
            let is_encoded = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
            if part.len() != ENCODED || !part.bytes().all(is_encoded) {
                return Err(JoinStringError::Part(name));
            }
        }
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), pin: pin.to_owned() })
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}.{}", self.id, self.secret, self.pin)
    }
}

impl fmt::Debug for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.(secret).{}", self.id, self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> JoinString {
        JoinString { id: "k7q2m0xw".into(), secret: "s".repeat(ENCODED), pin: "p".repeat(ENCODED) }
    }

    #[test]
    fn a_join_string_is_read_as_it_was_written_and_shows_no_secret() {
        let text = format!(" {}\n", whole());
        assert_eq!(text.parse(), Ok(whole()));
        assert!(!format!("{:?}", whole()).contains("sss"));
    }

    #[test]
    fn what_is_not_whole_is_refused_and_named_without_the_secret() {
        let text = whole().to_string();
        let wrong = [
            (text.replace("flj1", "fls1"), JoinStringError::Prefix),
            (text.rsplit_once('.').expect("parts").0.to_owned(), JoinStringError::Parts(3)),
            (text.replace("k7q2m0xw", "../x"), JoinStringError::Parts(6)),
            (text.replace("k7q2m0xw", "a/b"), JoinStringError::Id),
            (text.replace("sss", "s/s"), JoinStringError::Part("secret")),
            (text[..text.len() - 1].to_owned(), JoinStringError::Part("pin")),
        ];
        for (text, why) in wrong {
            let refused = text.parse::<JoinString>();
            assert_eq!(refused, Err(why), "{text}");
            assert!(!why.to_string().contains("sss"));
        }
    }
}
