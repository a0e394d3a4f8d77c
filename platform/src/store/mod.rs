//! The store of images, results and records: one trait, one file per kind. A URL picks the kind.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Error, Kind, Result};

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "contract")]
pub mod faulty;
mod file;
#[cfg(feature = "aws")]
mod objects;
#[cfg(feature = "aws")]
mod s3;
mod uri;

pub use file::FileStore;
#[cfg(feature = "aws")]
pub use objects::{ObjectHead, S3Objects};
#[cfg(feature = "aws")]
pub use s3::S3Store;
pub use uri::S3Uri;

/// Named objects. A key is `part/part/part`: letters, digits, `.`, `_`, `-`, `=`; see [`check_key`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes the object, whole or not at all, and durably: once this returns, it survives a
    /// crash. Replaces what was there.
    async fn put(&self, key: &str, value: Bytes) -> Result<()>;

    /// Writes only if there is none: `AlreadyExists` otherwise. Of many callers at once, one wins.
    async fn create(&self, key: &str, value: Bytes) -> Result<()>;

    /// `ObjectNotFound` when there is none.
    async fn get(&self, key: &str) -> Result<Bytes>;

    /// Part of the object, of bytes that are all there: one that ends earlier is an error.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// The object and the version it has, for [`replace`](Store::replace).
    async fn get_versioned(&self, key: &str) -> Result<(Bytes, Version)>;

    /// Writes only if the object still has this version: `VersionMismatch` otherwise, also when it
    /// is gone. Of many callers at once, one wins. Gives the version it has now.
    async fn replace(&self, key: &str, value: Bytes, version: &Version) -> Result<Version>;

    /// Removes it. One that is not there is not an error.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Keys that start with `prefix` and are greater than `after`, in order, at most `max`.
    async fn list(&self, prefix: &str, after: &str, max: usize) -> Result<Vec<String>>;
}

/// What tells two writings of an object apart: an ETag, or a sum of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub(crate) String);

/// Opens the store a URL names.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("file", rest)) => Ok(Arc::new(FileStore::open(rest.trim_start_matches("//"))?)),
        #[cfg(feature = "aws")]
        Some(("s3", _)) => Ok(Arc::new(S3Store::open(url).await?)),
        #[cfg(not(feature = "aws"))]
        Some(("s3", _)) => Err(crate::without_aws(&format!("store {url:?}"))),
        _ => Err(Error::new(
            Kind::Config,
            format!("store {url:?}: unknown kind; known: file:///path, s3://BUCKET/PREFIX"),
        )),
    }
}

/// Whether a key is one every kind of store takes: parts of letters, digits, `.`, `_`, `-` and
/// `=`, none of them `.` or `..` or empty, 1,000 bytes in all. A caller's name is never a key.
pub fn check_key(key: &str) -> Result<()> {
    const KEY_BYTES_MAX: usize = 1000;
    let part_is_fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'='))
    };
    if key.len() <= KEY_BYTES_MAX && key.split('/').all(part_is_fine) {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, "").with_source(format!("{key:?} is not a key")))
}
