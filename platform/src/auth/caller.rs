//! Who calls, as handlers see it.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use super::{
    bucket::{Bucket, Rate},
    scope::Scopes,
};
use crate::{Error, Kind, Result};

/// Who calls, in a request's extensions.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose images, jobs and repeats are whose. `None`: no keys are asked for.
    pub key_id: Option<Arc<str>>,
    pub scopes: Scopes,
    quota: Option<Arc<Quota>>,
}

/// What a key is called and how much it may ask for.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) name: String,
    pub(super) rate: Option<Rate>,
    pub(super) bucket: Arc<Bucket>,
}

/// Buckets count from here.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Caller {
    /// Without keys anybody may do everything.
    pub fn anonymous() -> Self {
        Self { key_id: None, scopes: Scopes::ALL, quota: None }
    }

    pub(super) fn with_key(key_id: Arc<str>, scopes: Scopes, quota: Arc<Quota>) -> Self {
        Self { key_id: Some(key_id), scopes, quota: Some(quota) }
    }

    /// Of a request, by its extensions: `Caller::of(request.extensions())` over HTTP and gRPC alike.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(Self::anonymous)
    }

    /// The key's name, for records of who asked.
    pub fn name(&self) -> Option<&str> {
        self.quota.as_deref().map(|quota| quota.name.as_str())
    }

    /// Takes so many images (or calls) from the key's rate. At the limit the error says when to come back; nothing is
    /// taken then.
    pub fn charge(&self, count: u64) -> Result<()> {
        let (Some(key_id), Some(quota)) = (&self.key_id, &self.quota) else { return Ok(()) };
        let Some(rate) = quota.rate else { return Ok(()) };
        quota.bucket.take(rate, count, START.elapsed()).map_err(|wait| {
            let per_second = rate.per_second();
            let sentence = format!("the key {:?} may send {per_second} images a second", quota.name);
            Error::new(Kind::QuotaExceeded, sentence.clone())
                .with_quota(format!("key:{key_id}"), sentence)
                .with_metadata("limit", per_second)
                .with_retry_after(wait)
        })
    }

    /// Whether the key has used up what it may have for now, before its request is read.
    pub(super) fn check_debt(&self) -> Result<()> {
        self.charge(0)
    }
}
