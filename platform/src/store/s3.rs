//! The store in a bucket of S3, below a prefix.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::{
    Client,
    config::{http::HttpResponse, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Store, Version, check_key, uri::check_bucket};
use crate::{
    Error, Kind, Result,
    aws::{
        self,
        errors::{Cause, Doing, Failure},
    },
};

/// Calls of one store at a time. As many as one HTTP client keeps connections for without a stall; more wait here.
const CALLS_MAX: usize = 64;

/// One attempt at a call, an upload included: the largest bundle takes two seconds at 100 Mbit/s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// What one listing call returns at most (S3's own limit).
const PAGE_MAX: usize = 1000;

/// How often an object is read that breaks off in the middle, which the SDK does not try again.
const READS_MAX: u32 = 3;

pub struct S3Store {
    client: Client,
    bucket: String,
    /// Empty, or it ends with `/`.
    prefix: String,
    calls: Arc<Semaphore>,
}

pub(super) fn client(config: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let config = aws_sdk_s3::config::Builder::from(config)
        .timeout_config(timeouts)
        // A stand-in is found by address, and there is no DNS for buckets below it.
        .force_path_style(config.endpoint_url().is_some())
        .build();
    Client::from_conf(config)
}

impl S3Store {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`. Refuses when the bucket is not there or may not be used.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(&aws::config().await?, url).await
    }

    pub async fn open_with(config: &SdkConfig, url: &str) -> Result<Self> {
        let (bucket, prefix) = parse(url)?;
        if config.region().is_none() {
            return Err(aws::no_region());
        }
        let store =
            Self { client: client(config), bucket, prefix, calls: Arc::new(Semaphore::new(CALLS_MAX)) };
        store.check(url).await?;
        Ok(store)
    }

    async fn check(&self, url: &str) -> Result<()> {
        let bucket = &self.bucket;
        let Err(error) = self.client.head_bucket().bucket(bucket).send().await else { return Ok(()) };
        let region = error.raw_response().and_then(|answer| answer.headers().get("x-amz-bucket-region"));
        let region = region.map(str::to_owned);
        let failure = Failure::from(error);
        let refuse = |sentence| Err(Error::new(Kind::Config, sentence));
        match (failure.cause, failure.status) {
            (Cause::Refused, 404) => refuse(format!(
                "store {url}: there is no bucket {bucket}; create it (aws s3 mb s3://{bucket}) or correct the URL"
            )),
            (Cause::Refused, 301 | 400) if region.is_some() => refuse(format!(
                "store {url}: bucket {bucket} is in region {}; set AWS_REGION to it",
                region.unwrap_or_default()
            )),
            _ => {
                let resource = format!("arn:aws:s3:::{bucket}");
                let what = format!("store {url}");
                Err(failure.starting(Doing { what: &what, action: "s3:ListBucket", resource: &resource }))
            }
        }
    }

    fn key(&self, key: &str) -> Result<String> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    async fn call(&self) -> Result<SemaphorePermit<'_>> {
        self.calls.acquire().await.map_err(Error::internal)
    }

    /// Reads it whole, again from the start if it breaks off.
    async fn read(&self, key: &str, range: Option<&str>) -> Result<(Bytes, Version)> {
        let key = self.key(key)?;
        let mut reads = 0;
        loop {
            reads += 1;
            let _call = self.call().await?;
            let get = self.client.get_object().bucket(&self.bucket).key(&key);
            let GetObjectOutput { body, e_tag, .. } =
                get.set_range(range.map(str::to_owned)).send().await.map_err(reading)?;
            match body.collect().await {
                Ok(body) => return Ok((body.into_bytes(), Version(e_tag.unwrap_or_default()))),
                Err(error) if reads >= READS_MAX => return Err(broken_off(&error)),
                Err(_) => {}
            }
        }
    }
}

/// The bucket and the prefix, as keys begin with it.
fn parse(url: &str) -> Result<(String, String)> {
    let invalid = |why: &str| Error::new(Kind::Config, format!("store {url:?}: {why}"));
    let rest = url.strip_prefix("s3://").ok_or_else(|| invalid("it has to be s3://BUCKET/PREFIX"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    check_bucket(bucket).map_err(invalid)?;
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Ok((bucket.to_owned(), String::new()));
    }
    check_key(prefix)
        .map_err(|_| invalid("the prefix may have letters, digits, '.', '_', '-', '=' and '/'"))?;
    Ok((bucket.to_owned(), format!("{prefix}/")))
}

pub(super) fn broken_off(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(Kind::ServiceUnavailable, "an object in S3 could not be read to its end")
        .with_source(error.to_string())
        .with_retry_after(Duration::from_secs(1))
}

/// What a failed read of one object comes to.
pub(super) fn reading<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    object_error(Failure::from(error))
}

pub(super) fn object_error(failure: Failure) -> Error {
    match (failure.cause, failure.code.as_str(), failure.status) {
        // HEAD has no body and so no code.
        (Cause::Refused, "NoSuchKey" | "NoSuchVersion" | "NotFound", _) | (Cause::Refused, "", 404) => {
            Error::new(Kind::ObjectNotFound, "there is no such object")
        }
        (Cause::Refused, "InvalidRange", _) | (Cause::Refused, _, 416) => {
            Error::internal("the object ends before the part that was asked for")
        }
        _ => failure.running(Kind::ServiceUnavailable),
    }
}

/// What a failed conditional write comes to. Of two at once, S3 may refuse one for the other's sake (409).
fn writing<E>(error: SdkError<E, HttpResponse>, refused: Kind, message: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let failure = Failure::from(error);
    let lost = matches!(failure.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
        || matches!(failure.status, 409 | 412)
        // A condition on an object that is gone.
        || (refused == Kind::VersionMismatch && failure.code == "NoSuchKey");
    if failure.cause == Cause::Refused && lost {
        return Error::new(refused, message);
    }
    failure.running(Kind::ServiceUnavailable)
}

#[async_trait]
impl Store for S3Store {
    async fn put(&self, key: &str, value: Bytes) -> Result<()> {
        let key = self.key(key)?;
        let _call = self.call().await?;
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(value.into());
        put.send().await.map_err(|error| Failure::from(error).running(Kind::ServiceUnavailable))?;
        Ok(())
    }

    /// When an answer is lost and the SDK tries again, it meets its own object: `AlreadyExists`, although it
    /// was this caller who wrote it. A caller that must know reads it.
    async fn create(&self, key: &str, value: Bytes) -> Result<()> {
        let key = self.key(key)?;
        let _call = self.call().await?;
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(value.into());
        let put = put.if_none_match("*").send().await;
        put.map_err(|error| writing(error, Kind::AlreadyExists, "there is such an object already"))?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        self.read(key, None).await.map(|(value, _)| value)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            // No request can ask for nothing.
            check_key(key)?;
            return Ok(Bytes::new());
        }
        let asked = format!("bytes={}-{}", range.start, range.end - 1);
        let (part, _) = self.read(key, Some(&asked)).await?;
        if part.len() as u64 == length {
            return Ok(part);
        }
        Err(Error::internal("the object ends before the part that was asked for"))
    }

    async fn get_versioned(&self, key: &str) -> Result<(Bytes, Version)> {
        self.read(key, None).await
    }

    /// The same holds as for [`create`](S3Store::create): a lost answer may show as `VersionMismatch`.
    async fn replace(&self, key: &str, value: Bytes, version: &Version) -> Result<Version> {
        let key = self.key(key)?;
        let _call = self.call().await?;
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(value.into());
        let put = put.if_match(&version.0).send().await;
        let put =
            put.map_err(|error| writing(error, Kind::VersionMismatch, "the object was changed in between"))?;
        Ok(Version(put.e_tag.unwrap_or_default()))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let key = self.key(key)?;
        let _call = self.call().await?;
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        delete.send().await.map_err(|error| Failure::from(error).running(Kind::ServiceUnavailable))?;
        Ok(())
    }

    async fn list(&self, prefix: &str, after: &str, max: usize) -> Result<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        while keys.len() < max {
            let page = (max - keys.len()).min(PAGE_MAX);
            let after = keys.last().map_or(after, String::as_str);
            let start = (!after.is_empty()).then(|| format!("{}{after}", self.prefix));
            let list = self.client.list_objects_v2().bucket(&self.bucket);
            let list = list.prefix(format!("{}{prefix}", self.prefix)).set_start_after(start);
            let _call = self.call().await?;
            let list = list.max_keys(i32::try_from(page).unwrap_or(i32::MAX)).send().await;
            let list = list.map_err(|error| Failure::from(error).running(Kind::ServiceUnavailable))?;
            let found = list.contents().iter().filter_map(|object| object.key());
            keys.extend(found.filter_map(|key| key.strip_prefix(&self.prefix)).map(str::to_owned));
            if list.is_truncated() != Some(true) || list.contents().is_empty() {
                break;
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_a_bucket_and_a_prefix() {
        let rows =
            [("s3://box", ("box", "")), ("s3://box/", ("box", "")), ("s3://box/a/b/", ("box", "a/b/"))];
        for (url, (bucket, prefix)) in rows {
            assert_eq!(parse(url).unwrap(), (bucket.to_owned(), prefix.to_owned()));
        }
        for url in ["s3://", "s3://B", "s3://box/ü", "s3://box/a//b", "s3:/box"] {
            assert_eq!(parse(url).unwrap_err().kind(), Kind::Config, "{url}");
        }
    }
}
