//! Callers' own images in S3: which buckets may be read, how large they are, and which version is meant.

use platform::Result;

#[cfg(feature = "aws")]
pub struct Objects {
    buckets: Vec<String>,
    s3: platform::store::S3Objects,
}

#[cfg(feature = "aws")]
impl Objects {
    /// `None` without buckets.
    pub async fn open(buckets: &[String]) -> Result<Option<Self>> {
        if buckets.is_empty() {
            return Ok(None);
        }
        let s3 = platform::store::S3Objects::new(&platform::aws::config().await?);
        Ok(Some(Self { buckets: buckets.to_vec(), s3 }))
    }

    /// Whether the object's bucket may be read.
    pub fn allow(&self, uri: &str) -> Result<()> {
        self.allowed(uri).map(drop)
    }

    fn allowed(&self, uri: &str) -> Result<platform::store::S3Uri> {
        let object = self.scheme(uri).and_then(|()| platform::store::S3Uri::parse(uri))?;
        self.allow_bucket(&object.bucket)?;
        Ok(object)
    }

    fn scheme(&self, uri: &str) -> Result<()> {
        use platform::{Error, Kind};
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        if scheme != "s3" {
            return Err(Error::new(
                Kind::UriSchemeUnsupported,
                format!("can't read images from {scheme:?}; known: s3://BUCKET/KEY"),
            )
            .with_metadata("scheme", scheme));
        }
        Ok(())
    }

    fn allow_bucket(&self, bucket: &str) -> Result<()> {
        use platform::{Error, Kind};
        if self.buckets.iter().any(|allowed| allowed == bucket) {
            return Ok(());
        }
        let sentence =
            format!("images in bucket {bucket:?} may not be read here; ask its operator to allow it");
        Err(Error::new(Kind::UriNotAllowed, sentence).with_metadata("bucket", bucket))
    }

    /// The whole object, for lists of images.
    pub async fn read(&self, uri: &str, bytes_max: usize) -> Result<bytes::Bytes> {
        self.s3.get(&self.allowed(uri)?, bytes_max as u64).await
    }

    /// What lies below `s3://BUCKET/PREFIX`: the name after the prefix, the URI and the size of each, at most `max`.
    pub async fn list(&self, prefix: &str, max: usize) -> Result<Vec<(String, String, u64)>> {
        self.scheme(prefix)?;
        let (bucket, start) = platform::store::S3Uri::parse_prefix(prefix)?;
        self.allow_bucket(&bucket)?;
        let found = self.s3.list(&bucket, &start, max).await?;
        let named = found.into_iter().map(|(key, size)| {
            let name = key.strip_prefix(&start).unwrap_or(&key).to_owned();
            (name, format!("s3://{bucket}/{key}"), size)
        });
        Ok(named.collect())
    }

    /// The object, not over the limit, pinned to the version it has now: what the caller meant is what is classified.
    pub async fn check(&self, uri: &str, bytes_max: usize) -> Result<String> {
        use platform::{Error, Kind};
        let mut object = self.allowed(uri)?;
        let found = self.s3.head(&object).await?;
        match usize::try_from(found.size) {
            Ok(0) => return Err(Error::new(Kind::ImageEmpty, "the object has no bytes")),
            Ok(size) if size <= bytes_max => {}
            size => return Err(crate::intake::too_large(bytes_max, size.unwrap_or(usize::MAX))),
        }
        object.version = object.version.or(found.version_id);
        Ok(object.to_string())
    }
}

#[cfg(not(feature = "aws"))]
pub enum Objects {}

#[cfg(not(feature = "aws"))]
impl Objects {
    pub async fn open(buckets: &[String]) -> Result<Option<Self>> {
        if buckets.is_empty() {
            return Ok(None);
        }
        let sentence = "--uri-bucket: this program was built without AWS; the gateway program has it";
        Err(platform::Error::new(platform::Kind::Config, sentence))
    }

    pub async fn check(&self, _uri: &str, _bytes_max: usize) -> Result<String> {
        match *self {}
    }

    pub fn allow(&self, _uri: &str) -> Result<()> {
        match *self {}
    }

    pub async fn read(&self, _uri: &str, _bytes_max: usize) -> Result<bytes::Bytes> {
        match *self {}
    }

    pub async fn list(&self, _prefix: &str, _max: usize) -> Result<Vec<(String, String, u64)>> {
        match *self {}
    }
}
