//! `dunlin classify`: files in, what they show out, as it comes or in the order given.

use std::{path::PathBuf, time::Duration};

use futures::{StreamExt as _, future::try_join};
use platform::{
    Error, Kind,
    options::{Check, Problems, parse_duration},
};
use proto::v1::{ClassifyOptions, ClassifyStreamRequest, Image, ImageResult};
use tokio::sync::mpsc;

use crate::{
    connect::GatewayOptions,
    failure::{Failure, INTERRUPTED, Outcome},
    output::{ColourOptions, Format},
    stream::{Classifier, classifier, classify_stream},
};

pub(crate) mod files;
pub(crate) mod printer;
pub(crate) mod row;

use files::{Picture, Reader, Source};
use printer::Printer;
use row::{Row, Trouble};

/// Requests open at once: enough to keep a gateway busy while the next files are read, few enough
/// that what is held in memory stays near 100 MiB.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The pictures: JPEG, PNG, WebP, GIF or BMP; '-' is standard input
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// How to print the results
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// How many classes to show for each picture, best first
    #[arg(short = 'k', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    top_k: u32,
    /// Leave out classes below this score (0 to 1)
    #[arg(long, default_value_t = 0.0, value_name = "SCORE")]
    min_score: f32,
    /// The model to use, as NAME or NAME@VERSION; the server's default when empty
    #[arg(
        long,
        env = "DUNLIN_CLASSIFY_MODEL",
        default_value = "",
        value_name = "NAME",
        hide_default_value = true
    )]
    model: String,
    /// How long one request may take, the wait for a worker included
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if !(0.0..=1.0).contains(&self.min_score) {
            problems.add("--min-score", "must be between 0 and 1");
        }
        if self.timeout.is_zero() {
            problems.add("--timeout", "must be more than 0");
        }
        if self.files.iter().filter(|file| Source::is_stdin(file)).count() > 1 {
            problems.add("FILES", "'-' can be given once");
        }
    }
}

impl Options {
    fn request(&self, images: Vec<Image>) -> ClassifyStreamRequest {
        let options = ClassifyOptions {
            model: self.model.clone(),
            top_k: self.top_k,
            min_score: self.min_score,
            ..ClassifyOptions::default()
        };
        ClassifyStreamRequest { images, options: Some(options), ..ClassifyStreamRequest::default() }
    }
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    let sources = files::sources(&options.files);
    let mut printer = Printer::new(options.output, colours.on_stdout(), sources.len());
    // With nothing to send there is no need for a server to say so.
    let channel =
        if sources.iter().any(Source::is_there) { Some(options.gateway.connect().await?) } else { None };
    // What the printer is behind by; a request waits for it when it is full.
    const ROWS_WAITING_MAX: usize = 64;
    let (rows, mut rows_to_print) = mpsc::channel(ROWS_WAITING_MAX);
    let sending = async {
        send_all(channel.map(classifier), sources, &options, rows).await;
        Ok(())
    };
    let printing = async {
        while let Some(row) = rows_to_print.recv().await {
            printer.add(row)?;
        }
        Ok::<(), Failure>(())
    };
    tokio::select! {
        ended = try_join(sending, printing) => { ended?; }
        _ = tokio::signal::ctrl_c() => {
            printer.finish()?;
            return Ok(INTERRUPTED);
        }
    }
    printer.finish()
}

/// Reads and sends everything, a few requests at once. Every source ends as one row.
async fn send_all(
    classifier: Option<Classifier>,
    sources: Vec<Source>,
    options: &Options,
    rows: mpsc::Sender<Row>,
) {
    let (reader, rows) = (Reader::new(sources, rows.clone()), &rows);
    let requests = futures::stream::unfold(reader, async |mut reader| {
        let pictures = reader.next_request().await?;
        Some((pictures, reader))
    });
    let send = |pictures: Vec<Picture>| {
        let classifier = classifier.clone();
        async move {
            match classifier {
                Some(classifier) => send(classifier, pictures, options, rows).await,
                // A file that was not there when we looked has come since.
                None => fail(pictures, &Error::new(Kind::ServiceUnavailable, "not connected"), rows).await,
            }
        }
    };
    requests.for_each_concurrent(REQUESTS_IN_FLIGHT_MAX, send).await;
}

/// One request. A picture without a result gets the error that ended the stream.
async fn send(
    mut classifier: Classifier,
    pictures: Vec<Picture>,
    options: &Options,
    rows: &mpsc::Sender<Row>,
) {
    let started = tokio::time::Instant::now();
    let images = pictures.iter().map(Picture::to_image).collect();
    let mut waiting: Vec<Option<Picture>> = pictures.into_iter().map(Some).collect();
    let take = |result: ImageResult| {
        let place = usize::try_from(result.index).ok().and_then(|index| waiting.get_mut(index));
        let picture = place.and_then(Option::take);
        let total = started.elapsed();
        async move {
            let Some(picture) = picture else {
                let stray = format!("the server answered for an image {} that does not wait", result.index);
                return Err(Error::new(Kind::Internal, stray));
            };
            // Only the printer's end closes the channel, and it ends everything here.
            let _ = rows.send(Row::from_result(picture.index, picture.name, result, total)).await;
            Ok(())
        }
    };
    let ended = classify_stream(&mut classifier, options.request(images), options.timeout, take);
    let error = match ended.await {
        Ok(()) => Error::new(Kind::Internal, "the server gave no result for it"),
        Err(error) => error,
    };
    fail(waiting.into_iter().flatten().collect(), &error, rows).await;
}

async fn fail(pictures: Vec<Picture>, error: &Error, rows: &mpsc::Sender<Row>) {
    for picture in pictures {
        let _ = rows.send(Row::failed(picture.index, picture.name, Trouble::from(error))).await;
    }
}
