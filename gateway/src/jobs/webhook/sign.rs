//! The secrets that calls are signed with, and the signature: https://www.standardwebhooks.com, version 1.

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use platform::{Error, Kind, Result};
use sha2::Sha256;

/// What the standard asks for: 24 to 64 bytes. A longer one is no worse.
const SECRET_BYTES_MIN: usize = 24;

/// By the names that callers know. Never shown.
pub struct Secrets(HashMap<String, Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// Of `NAME=FILE`.
    pub fn open(named: &[String]) -> Result<Self> {
        let mut secrets = HashMap::new();
        for one in named {
            let refuse = |why: String| Error::new(Kind::Config, format!("--webhook-secret: {why}"));
            let (name, file) = one.split_once('=').ok_or_else(|| refuse("has to be NAME=FILE".to_owned()))?;
            let text =
                std::fs::read_to_string(file).map_err(|error| refuse(format!("read {file}: {error}")))?;
            let secret =
                read(text.trim()).ok_or_else(|| refuse(format!("{file} has no base64 after whsec_")))?;
            if secret.len() < SECRET_BYTES_MIN {
                return Err(refuse(format!("{file} has under {SECRET_BYTES_MIN} bytes of secret")));
            }
            secrets.insert(name.to_owned(), secret);
        }
        Ok(Self(secrets))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of `webhook-signature`; `None` without such a secret.
    pub fn sign(&self, name: &str, message: &Message<'_>) -> Option<String> {
        let Message { id, timestamp, body } = message;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.get(name)?).ok()?;
        for part in [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

/// What is signed.
pub struct Message<'a> {
    pub id: &'a str,
    /// Seconds since 1970.
    pub timestamp: u64,
    pub body: &'a [u8],
}

fn read(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).ok(),
        None => Some(text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_the_standards_own_example() {
        // From the specification's libraries' tests.
        let secret = read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secrets = Secrets(HashMap::from([("one".to_owned(), secret)]));
        let message = Message {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: 1_614_265_330,
            body: br#"{"test": 2432232314}"#,
        };
        let want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(secrets.sign("one", &message).as_deref(), Some(want));
        assert_eq!(secrets.sign("other", &message), None);
    }

    #[test]
    fn short_or_broken_secrets_are_refused_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let check = |content: &str, want: bool| {
            let file = folder.path().join("secret");
            std::fs::write(&file, content).unwrap();
            let opened = Secrets::open(&[format!("one={}", file.display())]);
            assert_eq!(opened.is_ok(), want, "{content}");
            let shown = match opened {
                Ok(secrets) => format!("{secrets:?}"),
                Err(error) => format!("{error:?}"),
            };
            assert!(content.is_empty() || !shown.contains(content), "{shown}");
        };
        check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true);
        check("a-secret-that-is-long-enough", true);
        check("short", false);
        check("whsec_!", false);
        check("", false);
    }
}
