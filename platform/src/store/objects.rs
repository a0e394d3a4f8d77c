//! Objects of callers in S3: images and lists that are read, results that are written.

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

    /// Key and size of what begins with the prefix, in order, at most `max`. What stands for a folder is left out.
    pub async fn list(&self, bucket: &str, prefix: &str, max: usize) -> Result<Vec<(String, u64)>> {
        let uri = S3Uri { bucket: bucket.to_owned(), key: prefix.to_owned(), version: None };
        let mut found: Vec<(String, u64)> = Vec::new();
        let mut more = None;
        while found.len() < max {
            let _call = self.calls.acquire().await.map_err(Error::internal)?;
            let list = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
            let page = list.set_continuation_token(more).send().await.map_err(|error| failed(error, &uri))?;
            for object in page.contents() {
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                if let Some(key) = object.key().filter(|key| !key.ends_with('/')) {
                    found.push((key.to_owned(), size));
                }
            }
            more = page.next_continuation_token().map(str::to_owned);
            if more.is_none() {
                break;
            }
        }
        found.truncate(max);
        Ok(found)
    }

    /// Writes the object, replacing what was there.
    pub async fn put(&self, uri: &S3Uri, content: Bytes) -> Result<()> {
        let _call = self.calls.acquire().await.map_err(Error::internal)?;
        let put = self.client.put_object().bucket(&uri.bucket).key(&uri.key).body(content.into());
        put.send().await.map_err(|error| failed(error, uri))?;
        Ok(())
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
        let sentence = format!(
            "{uri}: this service may not do that there; its role needs s3:GetObject, s3:ListBucket or s3:PutObject"
        );
        return Error::new(Kind::UriNotAllowed, sentence);
    }
    match s3::object_error(failure) {
        error if error.kind() == Kind::ObjectNotFound => {
            Error::new(Kind::ObjectNotFound, format!("{uri}: there is no such object"))
        }
        error => error,
    }
}
