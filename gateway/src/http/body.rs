//! Reads a body whole, within a limit and while it keeps coming. A body over the limit is read on
//! and dropped up to a bound, so that its sender gets our answer and not a reset.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use platform::{Error, Kind, Result};

use crate::intake::too_large;

/// What a body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    pub(super) idle: Duration,
}

/// Read on past the limit, as a multiple of it: enough for a photograph that is a few times too
/// large, not for a sender that never ends.
const DRAIN_FACTOR: usize = 8;

/// The whole body as one piece.
pub(super) async fn read(headers: &HeaderMap, body: Body, limits: Limits) -> Result<Bytes> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    if let Some(declared) = declared.filter(|declared| *declared <= limits.bytes_max) {
        whole.reserve(declared);
    }
    let mut found = 0;
    while let Some(chunk) = next(&mut chunks, limits.idle).await? {
        found += chunk.len();
        if found <= limits.bytes_max {
            whole.extend_from_slice(&chunk);
        } else {
            whole = BytesMut::new();
        }
        if found > limits.bytes_max.saturating_mul(DRAIN_FACTOR) {
            break;
        }
    }
    if found > limits.bytes_max {
        return Err(too_large(limits.bytes_max, declared.unwrap_or(found).max(found)));
    }
    Ok(whole.freeze())
}

async fn next(chunks: &mut axum::body::BodyDataStream, idle: Duration) -> Result<Option<Bytes>> {
    match tokio::time::timeout(idle, chunks.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => {
            Err(Error::new(Kind::InvalidRequest, "the body broke off").with_source(error))
        }
        Ok(None) => Ok(None),
        Err(_) => Err(Error::new(
            Kind::DeadlineExceeded,
            format!("the body stopped arriving for {}", platform::options::show_duration(idle)),
        )),
    }
}
