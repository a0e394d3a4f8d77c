//! The request id of a creation: what it was used for, so that a repeat finds its job.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use platform::{Error, Kind, Result, error::ResultExt as _};
use prost::Message as _;
use proto::{
    internal::v1::{JobRecord, JobRequest},
    v1::{CreateJobRequest, create_job_request, image},
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Jobs, keys::JobId};

/// Longest caller-given request id.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Of one id, one call after the other in this process.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub async fn take(&self, key: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(key.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

/// What was asked, to tell a repeat from another request.
pub struct Asked {
    pub key: String,
    pub fingerprint: Bytes,
}

impl Asked {
    /// `None` without a request id. The id belongs to the caller.
    pub fn of(request: &CreateJobRequest, caller: &str) -> Result<Option<Self>> {
        let id = request.request_id.as_str();
        if id.len() > REQUEST_ID_BYTES_MAX {
            return Err(Error::invalid("request_id", format!("longer than {REQUEST_ID_BYTES_MAX} bytes")));
        }
        if id.is_empty() {
            return Ok(None);
        }
        let mut sum = Sum::default();
        sum.add(caller.as_bytes());
        sum.add(id.as_bytes());
        let hex: String = sum.end().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Self { key: format!("jobs/requests/{hex}"), fingerprint: fingerprint(request) }))
    }
}

/// Each part with its length, so that none runs into the next.
#[derive(Default)]
struct Sum(Sha256);

impl Sum {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn end(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.finalize())
    }
}

/// Over everything but the request id.
fn fingerprint(request: &CreateJobRequest) -> Bytes {
    use create_job_request::Input;
    let mut sum = Sum::default();
    match &request.input {
        None => sum.add(b"none"),
        Some(Input::InputPrefix(prefix)) => {
            [b"prefix", prefix.as_bytes()].iter().for_each(|part| sum.add(part));
        }
        Some(Input::ManifestUri(uri)) => [b"manifest", uri.as_bytes()].iter().for_each(|part| sum.add(part)),
        Some(Input::Images(list)) => {
            sum.add(b"images");
            for one in &list.images {
                sum.add(one.custom_id.as_bytes());
                match &one.source {
                    Some(image::Source::Content(content)) => sum.add(content),
                    Some(image::Source::Uri(uri)) => sum.add(format!("uri {uri}").as_bytes()),
                    None => sum.add(b""),
                }
            }
        }
    }
    sum.add(b"options");
    sum.add(&request.options.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default());
    sum.add(request.output_prefix.as_bytes());
    sum.add(&request.webhook.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default());
    let mut labels: Vec<_> = request.labels.iter().collect();
    labels.sort();
    labels.iter().for_each(|(name, value)| [name, value].iter().for_each(|part| sum.add(part.as_bytes())));
    sum.end()
}

impl Jobs {
    /// The job that an earlier call made, or `None`: then the id is this job's from now on.
    pub(super) async fn find_earlier(&self, asked: &Asked, id: &JobId) -> Result<Option<JobRecord>> {
        /// How long to wait for another gateway that is just creating it.
        const WAIT: Duration = Duration::from_secs(10);
        const STEP: Duration = Duration::from_millis(200);
        let mine = JobRequest {
            job_id: id.to_string(),
            fingerprint: asked.fingerprint.clone(),
            gateway_id: self.gateway_id.clone(),
        };
        let mine = Bytes::from(mine.encode_to_vec());
        let until = Instant::now() + WAIT;
        loop {
            match self.store.create(&asked.key, mine.clone()).await {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                Err(error) => return Err(error.context("remember the request id")),
            }
            let (bytes, version) = match self.store.get_versioned(&asked.key).await {
                Err(error) if error.kind() == Kind::ObjectNotFound => continue,
                got => got.context("look up the request id")?,
            };
            if bytes == mine {
                return Ok(None);
            }
            let earlier = JobRequest::decode(bytes)
                .map_err(|error| Error::internal(error).context("look up the request id"))?;
            let found = match JobId::read(&earlier.job_id) {
                Some(job) => self.records.get(&job).await,
                None => Err(Error::new(Kind::JobNotFound, "")),
            };
            match found {
                Ok(_) if earlier.fingerprint != asked.fingerprint => {
                    return Err(Error::new(
                        Kind::RequestIdReused,
                        "this request_id was used for another request; choose a new one",
                    ));
                }
                Ok(record) => return Ok(Some(record)),
                Err(error) if error.kind() != Kind::JobNotFound => return Err(error),
                Err(_) => {}
            }
            // No job came of it: it has expired, or its creation was broken off, or it is under way elsewhere.
            let is_settled = self.core.is_broker
                || earlier.gateway_id == self.gateway_id
                || JobId::read(&earlier.job_id).is_none_or(|job| super::sweep::is_partial_for_good(&job));
            if is_settled {
                match self.store.replace(&asked.key, mine.clone(), &version).await {
                    Ok(_) => return Ok(None),
                    Err(error) if error.kind() == Kind::VersionMismatch => continue,
                    Err(error) => return Err(error.context("remember the request id")),
                }
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    Kind::ServiceUnavailable,
                    "another gateway has begun with this request and not ended; try again",
                )
                .with_retry_after(WAIT));
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Image, ImageList};

    use super::*;

    fn of(parts: &[(&str, &[u8])], labels: &[(&str, &str)], request_id: &str) -> Asked {
        let image = |(name, content): &(&str, &[u8])| Image {
            custom_id: (*name).to_owned(),
            source: Some(image::Source::Content(content.to_vec().into())),
        };
        let images = parts.iter().map(image).collect();
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = CreateJobRequest {
            input: Some(create_job_request::Input::Images(ImageList { images })),
            labels,
            request_id: request_id.to_owned(),
            ..CreateJobRequest::default()
        };
        Asked::of(&request, "key").unwrap().unwrap()
    }

    #[test]
    fn fingerprint_is_of_the_payload_alone() {
        let one = of(&[("a", b"1")], &[("x", "1"), ("y", "2")], "id");
        let same = of(&[("a", b"1")], &[("y", "2"), ("x", "1")], "other");
        assert_eq!(one.fingerprint, same.fingerprint);
        assert_ne!(one.key, same.key);
        for other in
            [of(&[("a1", b"")], &[("x", "1"), ("y", "2")], "id"), of(&[("a", b"1")], &[("x", "1")], "id")]
        {
            assert_ne!(one.fingerprint, other.fingerprint);
        }
    }
}
