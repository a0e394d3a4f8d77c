//! The images of a job as the queue takes them: read from the store, from files, or named for the worker to read.

use std::{ops::Range, sync::Arc};

use platform::{Error, Kind, Result, error::ResultExt as _};
use proto::internal::v1::{JobImage, job_image::Source};

use super::{Jobs, files, keys::JobId};
use crate::{group::Picture, intake};

/// An answer for each, in their order. Fails as a whole where trying again may help.
pub async fn read(jobs: &Arc<Jobs>, id: &JobId, images: &[JobImage]) -> Result<Vec<Result<Picture>>> {
    let mut pictures = Vec::with_capacity(images.len());
    let mut rest = images;
    while let Some((first, others)) = rest.split_first() {
        let run = match &first.source {
            Some(Source::Part(_)) => {
                1 + others.iter().zip(rest).take_while(|(next, one)| follows(one, next)).count()
            }
            _ => 1,
        };
        let (run, after) = rest.split_at(run);
        rest = after;
        match &first.source {
            Some(Source::Part(_)) => read_run(jobs, id, run, &mut pictures).await?,
            Some(Source::Uri(uri)) => pictures.push(passing(read_uri(jobs, uri).await)?),
            Some(Source::Refused(_)) | None => {
                pictures.push(Err(Error::internal("an image without a source was to be queued")));
            }
        }
    }
    Ok(pictures)
}

fn part(image: &JobImage) -> Option<(u32, Range<u64>)> {
    match &image.source {
        Some(Source::Part(part)) => Some((part.bundle, part.offset..part.offset + image.size)),
        _ => None,
    }
}

/// Whether the bytes of one lie right behind those of the other.
fn follows(one: &JobImage, next: &JobImage) -> bool {
    match (part(one), part(next)) {
        (Some((bundle, one)), Some((next_bundle, next))) => bundle == next_bundle && one.end == next.start,
        _ => false,
    }
}

/// Images that lie one behind the other, in one read; or, where workers reach the store, where they are.
async fn read_run(
    jobs: &Jobs,
    id: &JobId,
    run: &[JobImage],
    pictures: &mut Vec<Result<Picture>>,
) -> Result<()> {
    let parts: Vec<_> = run.iter().filter_map(part).collect();
    let (Some((bundle, first)), Some((_, last))) = (parts.first(), parts.last()) else { return Ok(()) };
    if !jobs.core.is_broker {
        let stored = |(bundle, part)| Ok(Picture::Stored { key: id.bundle(bundle), part: Some(part) });
        pictures.extend(parts.into_iter().map(stored));
        return Ok(());
    }
    let read = jobs.store.get_range(&id.bundle(*bundle), first.start..last.end).await;
    let content = match passing(read.context("read a job's images"))? {
        Ok(content) => content,
        Err(error) => {
            tracing::error!(%error, job.id = %id, bundle, "a job's images are gone");
            let gone = || Error::internal("its bytes are no longer in the store");
            pictures.extend(run.iter().map(|_| Err(gone())));
            return Ok(());
        }
    };
    let mut content = content;
    for image in run {
        let length = usize::try_from(image.size).unwrap_or(usize::MAX).min(content.len());
        pictures.push(Ok(Picture::Content(content.split_to(length))));
    }
    Ok(())
}

async fn read_uri(jobs: &Jobs, uri: &str) -> Result<Picture> {
    let bytes_max = jobs.core.options.image_bytes_max;
    if files::is_file(uri) {
        let content = jobs.folders.read(uri, bytes_max).await?;
        intake::check_content(&content, bytes_max)?;
        return Ok(Picture::Content(content));
    }
    match &jobs.core.objects {
        Some(objects) => objects.check(uri, bytes_max).await.map(Picture::Object),
        None => {
            Err(Error::new(Kind::UriNotAllowed, format!("{uri}: this gateway reads no buckets any more")))
        }
    }
}

/// An error that may pass is the whole's.
fn passing<T>(read: Result<T>) -> Result<Result<T>> {
    match read {
        Err(error) if error.kind().is_retryable() => Err(error),
        read => Ok(read),
    }
}
