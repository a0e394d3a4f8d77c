//! A store that fails on purpose, round one that works.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Store, Version};
use crate::{
    Kind, Result,
    faults::{Fault, Faults},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreCall {
    Put,
    Create,
    /// Of the whole object or a part, with its version or without.
    Get,
    Replace,
    Delete,
    List,
}

/// Fails with `ServiceUnavailable`, as a driver does whose service is away.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Faults<StoreCall>,
}

impl FaultyStore {
    /// Fails nowhere, until told to.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, faults: Faults::new(Kind::ServiceUnavailable) })
    }

    /// Every so many calls of this kind fail from now on. 1: all.
    pub fn fail(&self, call: StoreCall, every: u64, fault: Fault) {
        self.faults.fail(call, every, fault);
    }

    /// No call fails any more, and those that hang end with an error.
    pub fn heal(&self) {
        self.faults.heal();
    }

    /// How many calls have failed on purpose.
    pub fn injected(&self) -> u64 {
        self.faults.injected()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn put(&self, key: &str, value: Bytes) -> Result<()> {
        self.faults.around(StoreCall::Put, self.inner.put(key, value)).await
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<()> {
        self.faults.around(StoreCall::Create, self.inner.create(key, value)).await
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        self.faults.around(StoreCall::Get, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.faults.around(StoreCall::Get, self.inner.get_range(key, range)).await
    }

    async fn get_versioned(&self, key: &str) -> Result<(Bytes, Version)> {
        self.faults.around(StoreCall::Get, self.inner.get_versioned(key)).await
    }

    async fn replace(&self, key: &str, value: Bytes, version: &Version) -> Result<Version> {
        self.faults.around(StoreCall::Replace, self.inner.replace(key, value, version)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.faults.around(StoreCall::Delete, self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: &str, max: usize) -> Result<Vec<String>> {
        self.faults.around(StoreCall::List, self.inner.list(prefix, after, max)).await
    }
}
