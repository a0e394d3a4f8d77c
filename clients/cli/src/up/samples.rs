//! The photographs that come with Dunlin, classified before the newcomer's eyes through the API that
//! everyone uses.

use std::time::Duration;

use bytes::Bytes;
use platform::Error;
use proto::v1::{
    ClassifyOptions, ClassifyStreamRequest, Image, ImageResult, ImageState, classify_stream_response::Event,
    image::Source,
};
use tokio::time::Instant;

use super::say;
use crate::{connect::GatewayOptions, failure::Failure, stream::classifier};

macro_rules! sample {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../samples/", $name)).as_slice())
    };
}

pub(crate) const SAMPLES: [(&str, &[u8]); 5] = [
    sample!("chelsea.png"),
    sample!("china.jpg"),
    sample!("coffee.png"),
    sample!("flower.jpg"),
    sample!("rocket.jpg"),
];

/// What came out of it.
pub(crate) struct Summary {
    pub(crate) succeeded: usize,
    pub(crate) took: Duration,
}

/// Classifies them and prints a line for each as it comes.
pub(crate) async fn classify(gateway: &GatewayOptions) -> Result<Summary, Failure> {
    /// A first start loads the model in the workers; longer than this, and something is wrong.
    const LONGEST: Duration = Duration::from_secs(120);
    let since = Instant::now();
    let images = SAMPLES.map(|(name, content)| Image {
        source: Some(Source::Content(Bytes::from_static(content))),
        custom_id: name.to_owned(),
    });
    let mut client = classifier(gateway.connect().await?);
    let mut request = tonic::Request::new(ClassifyStreamRequest {
        images: images.to_vec(),
        options: Some(ClassifyOptions { top_k: 1, ..ClassifyOptions::default() }),
        ..ClassifyStreamRequest::default()
    });
    request.set_timeout(LONGEST);
    let mut events = client.classify_stream(request).await.map_err(Error::from)?.into_inner();
    let mut succeeded = 0;
    while let Some(event) = events.message().await.map_err(Error::from)? {
        if let Some(Event::Result(result)) = event.event {
            succeeded += usize::from(result.state() == ImageState::Succeeded);
            say(format_args!("{}", line(&result)));
        }
    }
    Ok(Summary { succeeded, took: since.elapsed() })
}

/// `  chelsea.png   tiger cat   38.5 %   41 ms`
fn line(result: &ImageResult) -> String {
    let Some(top) = result.classifications.first() else {
        let message = result.error.as_ref().map_or("no answer", |error| error.message.as_str());
        return format!("  {:<14} failed: {message}", result.custom_id);
    };
    let execution = result.execution.clone().unwrap_or_default();
    let millis = [execution.decode_duration, execution.inference_duration]
        .iter()
        .filter_map(|duration| platform::time::from_proto(duration.as_ref()))
        .sum::<Duration>()
        .as_millis();
    format!("  {:<14} {:<22} {:>5.1} %  {millis:>5} ms", result.custom_id, top.label, top.score * 100.0)
}

#[cfg(test)]
mod tests {
    use proto::v1::{Classification, ExecutionInfo};

    use super::*;

    #[test]
    fn line_has_name_label_score_and_time() {
        let result = ImageResult {
            custom_id: "cat.png".to_owned(),
            classifications: vec![Classification {
                class_id: 282,
                label: "tiger cat".to_owned(),
                score: 0.385,
            }],
            execution: Some(ExecutionInfo {
                decode_duration: Some(prost_types::Duration { seconds: 0, nanos: 12_000_000 }),
                inference_duration: Some(prost_types::Duration { seconds: 0, nanos: 14_000_000 }),
                ..ExecutionInfo::default()
            }),
            ..ImageResult::default()
        };
        assert_eq!(line(&result), "  cat.png        tiger cat               38.5 %     26 ms");
        let failed = ImageResult { custom_id: "x".to_owned(), ..ImageResult::default() };
        assert_eq!(line(&failed), "  x              failed: no answer");
    }
}
