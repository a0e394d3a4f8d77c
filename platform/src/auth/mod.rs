//! Who may call what. Callers bring a key (`authorization: Bearer KEY` or `x-api-key: KEY`), our own services a secret
//! or a certificate; a guard in front of the handlers checks them and tells the handlers who calls.

use std::{fmt, sync::Arc};

mod bucket;
mod caller;
mod file;
mod guard;
mod internal;
mod key;
mod keys;
pub mod methods;
mod options;
mod peers;
mod refusal;
mod scope;

pub use caller::Caller;
pub use file::{KeyFile, KeyRecord, NewKey};
pub use guard::{Charge, Guard, INTERNAL_SECRET, Need, SentKey};
pub use internal::{InternalOptions, Listen};
pub use keys::Keys;
pub use options::AccessOptions;
pub use peers::{INTERNAL_SECRET_VARIABLE, Link, Links, PeerOptions};
pub use scope::{Scope, Scopes};

/// Text that is never shown: a key, or the secret between our services.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// For `value_parser` and for what is read from a file. Spaces and line ends round it are not part of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            // The text itself is not repeated: it may be most of a key.
            return Err("must be visible ASCII, and not empty".to_owned());
        }
        Ok(Self(text.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
