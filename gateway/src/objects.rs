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

    /// The object, not over the limit, pinned to the version it has now: what the caller meant is what is classified.
    pub async fn check(&self, uri: &str, bytes_max: usize) -> Result<String> {
        use platform::{Error, Kind, store::S3Uri};
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        if scheme != "s3" {
            return Err(Error::new(
                Kind::UriSchemeUnsupported,
                format!("can't read images from {scheme:?}; known: s3://BUCKET/KEY"),
            )
            .with_metadata("scheme", scheme));
        }
        let mut object = S3Uri::parse(uri)?;
        if !self.buckets.contains(&object.bucket) {
            return Err(Error::new(
                Kind::UriNotAllowed,
                format!(
                    "images in bucket {:?} may not be read here; ask its operator to allow it",
                    object.bucket
                ),
            )
            .with_metadata("bucket", &object.bucket));
        }
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
}
