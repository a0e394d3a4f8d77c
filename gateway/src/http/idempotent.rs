//! `Idempotency-Key`: over HTTP what `request_id` is over gRPC.

use std::sync::Arc;

use axum::http::request::Parts;
use platform::{Error, Result};
use proto::v1::ImageResult;

use crate::{
    core::{Core, One},
    repeat::{self, Call, CallId, Fingerprint, Given},
};

const HEADER: &str = "idempotency-key";

/// One image to its answer; a repeat with the same key gets the first one's.
pub(super) async fn classify(
    core: &Arc<Core>,
    head: &Parts,
    method: &'static str,
    one: One,
) -> Result<ImageResult> {
    let call = key(head, method)?.map(|id| {
        let images = std::slice::from_ref(&one.image);
        Call { id, fingerprint: Fingerprint::of(images, one.options.as_ref(), false) }
    });
    repeat::classify(core, call, one).await
}

fn key(head: &Parts, method: &'static str) -> Result<Option<CallId>> {
    let Some(value) = head.headers.get(HEADER) else { return Ok(None) };
    let field = "Idempotency-Key";
    let request_id = value.to_str().map_err(|_| Error::invalid(field, "must be ASCII"))?;
    if request_id.is_empty() {
        return Err(Error::invalid(field, "must not be empty"));
    }
    let owner = repeat::owner(&head.extensions);
    CallId::of(Given { owner: owner.as_deref(), method, request_id, field })
}
