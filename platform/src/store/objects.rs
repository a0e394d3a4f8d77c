//! Objects of callers in S3, which are read and never written.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::{S3Uri, s3};
use crate::{
    Error, Kind, Result,
    aws::errors::{Cause, Failure},
};

/// Calls at a time; see the store's.
const CALLS_MAX: usize = 64;

/// Cheap to clone; clones share the limit of calls.
#[derive(Clone)]
pub struct S3Objects {
    client: Client,
    calls: Arc<Semaphore>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    pub size: u64,
    /// Of the version that was looked at; `None` where the bucket keeps none.
    pub version_id: Option<String>,
}

impl S3Objects {
    pub fn new(config: &SdkConfig) -> Self {
        Self { client: s3::client(config), calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// `ObjectNotFound` without one, `UriNotAllowed` where this service may not read.
    pub async fn head(&self, uri: &S3Uri) -> Result<ObjectHead> {
        let _call = self.calls.acquire().await.map_err(Error::internal)?;
        let head = self.client.head_object().bucket(&uri.bucket).key(&uri.key);
        let head =
            head.set_version_id(uri.version.clone()).send().await.map_err(|error| failed(error, uri))?;
        let size = head.content_length().and_then(|length| u64::try_from(length).ok());
        let size = size.ok_or_else(|| Error::internal("S3 did not say how large the object is"))?;
        // A bucket whose versioning was suspended calls its version "null".
        let version_id = head.version_id().filter(|version| *version != "null").map(str::to_owned);
        Ok(ObjectHead { size, version_id })
    }

    /// The object; `ImageTooLarge` once it is known that it has more than `bytes_max`, whatever it said before.
    pub async fn get(&self, uri: &S3Uri, bytes_max: u64) -> Result<Bytes> {
        let too_large = || {
            Error::new(Kind::ImageTooLarge, format!("{uri} is larger than {bytes_max} bytes"))
                .with_metadata("limit", bytes_max)
                .with_metadata("unit", "bytes")
        };
        let _call = self.calls.acquire().await.map_err(Error::internal)?;
        let get = self.client.get_object().bucket(&uri.bucket).key(&uri.key);
        let mut got =
            get.set_version_id(uri.version.clone()).send().await.map_err(|error| failed(error, uri))?;
        let size = got.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        if size > bytes_max {
            return Err(too_large());
        }
        let mut content = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(chunk) = got.body.next().await {
            let chunk = chunk.map_err(|error| s3::broken_off(&error))?;
            if (content.len() as u64).saturating_add(chunk.len() as u64) > bytes_max {
                return Err(too_large());
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }
}

/// What a failed read of a caller's object comes to, in words for the caller.
fn failed<E>(error: SdkError<E, HttpResponse>, uri: &S3Uri) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let failure = Failure::from(error);
    let (status, code) = (failure.status, failure.code.as_str());
    if code == "NoSuchBucket" {
        return Error::new(Kind::ObjectNotFound, format!("{uri}: there is no such bucket"));
    }
    // S3 answers so to a version id that is none.
    if uri.version.is_some() && (status == 400 || code == "NoSuchVersion") {
        return Error::new(Kind::ObjectNotFound, format!("{uri}: there is no such version"));
    }
    if status == 301 || status == 307 {
        return Error::new(Kind::UriNotAllowed, format!("{uri}: the bucket is in another region"));
    }
    if failure.cause == Cause::Denied {
        let sentence = format!("{uri}: this service may not read it; its role needs s3:GetObject there");
        return Error::new(Kind::UriNotAllowed, sentence);
    }
    match s3::object_error(failure) {
        error if error.kind() == Kind::ObjectNotFound => {
            Error::new(Kind::ObjectNotFound, format!("{uri}: there is no such object"))
        }
        error => error,
    }
}
