//! Removes calls from the store that are no longer kept.

use std::time::{Duration, SystemTime};

use platform::{Kind, Result, error::ResultExt as _};
use prost::Message as _;
use proto::internal::v1::RequestRecord;

use super::claim::{Claims, DUE, folder, has_passed, hour, record_key};

/// How often is looked; calls leave by the hour.
const PERIOD: Duration = Duration::from_secs(600);
/// Calls removed in one go; what is left is for the next.
const CALLS_MAX: usize = 1000;

/// Runs until dropped.
pub(super) async fn run(claims: &Claims) {
    loop {
        match sweep(claims, SystemTime::now()).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "removed calls that are no longer kept"),
            Err(error) => tracing::warn!(%error, "remove calls that are no longer kept"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Gives how many were removed.
pub(super) async fn sweep(claims: &Claims, now: SystemTime) -> Result<usize> {
    let due = claims.store.list(DUE, "", CALLS_MAX).await.context("list calls")?;
    let mut removed = 0;
    for key in due {
        let Some((of, hex)) = key.strip_prefix(DUE).and_then(|rest| rest.split_once('/')) else { continue };
        // In order: what follows is due later.
        if of.parse::<u64>().is_ok_and(|of| of > hour(now)) {
            break;
        }
        if is_over(claims, hex).await? {
            let rest = claims.store.list(&folder(hex), "", CALLS_MAX).await.context("list a call")?;
            for object in rest {
                claims.store.delete(&object).await.context("remove a call")?;
            }
            removed += 1;
        }
        claims.store.delete(&key).await.context("remove a call")?;
    }
    Ok(removed)
}

/// The same id may have been used again since.
async fn is_over(claims: &Claims, hex: &str) -> Result<bool> {
    match claims.store.get(&record_key(hex)).await {
        Ok(found) => {
            Ok(RequestRecord::decode(found).map_or(true, |record| has_passed(record.forget_time.as_ref())))
        }
        Err(error) if error.kind() == Kind::ObjectNotFound => Ok(true),
        Err(error) => Err(error.context("read a call")),
    }
}
