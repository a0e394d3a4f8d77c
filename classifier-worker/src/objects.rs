//! Callers' own images in S3. The gateway has checked bucket and size, and pinned the version.

use bytes::Bytes;
use platform::{Error, Kind, Result};

/// Connects to S3 with the first image.
#[derive(Default)]
pub(crate) struct Objects {
    #[cfg(feature = "aws")]
    s3: tokio::sync::OnceCell<platform::store::S3Objects>,
}

impl Objects {
    #[cfg(feature = "aws")]
    pub(crate) async fn get(&self, uri: &str) -> Result<Bytes> {
        /// No gateway takes larger ones, whatever its own limit.
        const BYTES_MAX: u64 = platform::serve::IMAGE_BYTES_LIMIT as u64;
        if !uri.starts_with("s3://") {
            return Err(unsupported(uri));
        }
        let connect =
            async || Ok::<_, Error>(platform::store::S3Objects::new(&platform::aws::config().await?));
        let s3 = self.s3.get_or_try_init(connect).await?;
        s3.get(&platform::store::S3Uri::parse(uri)?, BYTES_MAX).await
    }

    #[cfg(not(feature = "aws"))]
    pub(crate) async fn get(&self, uri: &str) -> Result<Bytes> {
        Err(unsupported(uri))
    }
}

fn unsupported(uri: &str) -> Error {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    Error::new(Kind::UriSchemeUnsupported, format!("this worker can't read images from {scheme:?}"))
        .with_metadata("scheme", scheme)
}
