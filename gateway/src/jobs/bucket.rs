//! Callers' buckets: where images and manifests are read from, and where results may be written.

use bytes::Bytes;
use platform::{Error, Kind, Result};

use super::{Jobs, keys::JobId};
use crate::objects::Objects;

impl Jobs {
    fn objects(&self, uri: &str) -> Result<&Objects> {
        self.core.objects.as_ref().ok_or_else(|| {
            let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
            let sentence =
                format!("can't read from {scheme:?}: this gateway reads no buckets (--uri-bucket)");
            Error::new(Kind::UriSchemeUnsupported, sentence).with_metadata("scheme", scheme)
        })
    }

    /// Whether an object's name may be used; it is looked up when its turn comes. Gives the size: unknown.
    pub(super) fn check_object(&self, uri: &str, field: &str) -> Result<u64> {
        let allowed = self.objects(uri).and_then(|objects| objects.allow(uri));
        allowed.map(|()| 0).map_err(|error| {
            let description = error.message().to_owned();
            error.with_violation(field, description)
        })
    }

    pub(super) async fn read_object(&self, uri: &str, bytes_max: usize) -> Result<Bytes> {
        self.objects(uri)?.read(uri, bytes_max).await
    }

    /// Name after the prefix, URI and size of each, at most `max`.
    pub(super) async fn list_objects(&self, prefix: &str, max: usize) -> Result<Vec<(String, String, u64)>> {
        self.objects(prefix)?.list(prefix, max).await
    }
}

/// Where results may be written.
pub struct Buckets {
    allowed: Vec<String>,
    #[cfg(feature = "aws")]
    s3: Option<platform::store::S3Objects>,
}

impl Buckets {
    pub async fn open(allowed: &[String]) -> Result<Self> {
        #[cfg(feature = "aws")]
        let s3 = match allowed {
            [] => None,
            _ => Some(platform::store::S3Objects::new(&platform::aws::config().await?)),
        };
        #[cfg(not(feature = "aws"))]
        if !allowed.is_empty() {
            let sentence =
                "--job-output-bucket: this program was built without AWS; the gateway program has it";
            return Err(Error::new(Kind::Config, sentence));
        }
        Ok(Self {
            allowed: allowed.to_vec(),
            #[cfg(feature = "aws")]
            s3,
        })
    }

    /// Empty is fine: the results stay in the store.
    pub fn check_output(&self, prefix: &str) -> Result<()> {
        const FIELD: &str = "output_prefix";
        if prefix.is_empty() {
            return Ok(());
        }
        let Some(rest) = prefix.strip_prefix("s3://") else {
            let scheme = prefix.split_once(':').map_or("", |(scheme, _)| scheme);
            let sentence = "results are written to s3://BUCKET/PREFIX/";
            return Err(Error::new(Kind::UriSchemeUnsupported, format!("output_prefix: {sentence}"))
                .with_metadata("scheme", scheme)
                .with_violation(FIELD, sentence));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::invalid(FIELD, format!("the prefix has more than {KEY_BYTES_MAX} bytes")));
        }
        if !self.allowed.iter().any(|one| one == bucket) {
            let sentence =
                format!("results may not be written to bucket {bucket:?}; ask its operator to allow it");
            return Err(Error::new(Kind::UriNotAllowed, sentence.clone())
                .with_metadata("bucket", bucket)
                .with_violation(FIELD, sentence));
        }
        Ok(())
    }

    /// Writes results to the caller's bucket. Gives where they are.
    #[cfg(feature = "aws")]
    pub async fn write(&self, prefix: &str, id: &JobId, content: Bytes) -> Result<String> {
        let s3 = self
            .s3
            .as_ref()
            .ok_or_else(|| Error::new(Kind::UriNotAllowed, "no bucket is allowed any more"))?;
        self.check_output(prefix)?;
        let uri = format!("{}/{id}/results.jsonl", prefix.trim_end_matches('/'));
        s3.put(&platform::store::S3Uri::parse(&uri)?, content).await?;
        Ok(uri)
    }

    #[cfg(not(feature = "aws"))]
    pub async fn write(&self, _prefix: &str, _id: &JobId, _content: Bytes) -> Result<String> {
        Err(Error::new(Kind::UriNotAllowed, "this program was built without AWS"))
    }
}

/// S3's limit, less what we put after it.
const KEY_BYTES_MAX: usize = 1024 - 64;
