//! One request of the load, over any of the calls that take images.

use std::time::Duration;

use bytes::Bytes;
use platform::{Error, Kind, Result};
use proto::v1::{
    BatchClassifyRequest, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest, Image, ImageResult, image,
};

use crate::stream::{Classifier, classify_stream, with_deadline, within};

/// The call to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Rpc {
    /// One image, one answer (Classify)
    Classify,
    /// Many images, answers as they come (ClassifyStream)
    Stream,
    /// Many images, one answer (BatchClassify)
    Batch,
}

/// Sends the same request again and again over one connection.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) classifier: Classifier,
    pub(super) rpc: Rpc,
    pub(super) picture: Bytes,
    pub(super) images: u32,
    pub(super) options: ClassifyOptions,
    pub(super) timeout: Duration,
}

impl Caller {
    /// How many images one request has.
    pub(super) fn images(&self) -> u64 {
        if self.rpc == Rpc::Classify { 1 } else { u64::from(self.images) }
    }

    /// Calls once and hands over each result as it comes.
    pub(super) async fn call(&self, mut take: impl FnMut(&ImageResult)) -> Result<()> {
        let mut classifier = self.classifier.clone();
        let (options, deadline) = (Some(self.options.clone()), self.timeout);
        match self.rpc {
            Rpc::Classify => {
                let message = ClassifyRequest { image: Some(self.image()), options, ..Default::default() };
                let answer = within(deadline, classifier.classify(with_deadline(message, deadline))).await?;
                let result = answer.into_inner().result;
                take(&result.ok_or_else(|| Error::new(Kind::Internal, "the answer has no result"))?);
                Ok(())
            }
            Rpc::Stream => {
                let message = ClassifyStreamRequest { images: self.many(), options, ..Default::default() };
                let take = |result: ImageResult| {
                    take(&result);
                    std::future::ready(Ok(()))
                };
                classify_stream(&mut classifier, message, deadline, take).await
            }
            Rpc::Batch => {
                let message = BatchClassifyRequest { images: self.many(), options, ..Default::default() };
                let answer =
                    within(deadline, classifier.batch_classify(with_deadline(message, deadline))).await?;
                answer.into_inner().results.iter().for_each(take);
                Ok(())
            }
        }
    }

    fn many(&self) -> Vec<Image> {
        (0..self.images).map(|_| self.image()).collect()
    }

    /// Shares the bytes. Without a name: the server numbers the images of a request.
    fn image(&self) -> Image {
        Image { source: Some(image::Source::Content(self.picture.clone())), custom_id: String::new() }
    }
}
