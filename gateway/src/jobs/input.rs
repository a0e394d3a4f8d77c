//! The images of a new job: checked, and written to the store, many to an object with an index of where each is.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use platform::{
    Error, Result,
    error::{ResultExt as _, to_rpc_status},
    store::Store,
};
use prost::Message as _;
use proto::{
    internal::v1::{JobImage, JobPage, JobPart, job_image},
    v1::{Image, create_job_request, image},
};

use super::{Jobs, files, keys::JobId, manifest};
use crate::intake;

/// Bytes of images in one object, but for one that is larger. One fsync for a hundred images of a phone's thumbnails,
/// and an upload to S3 that is over in its time limit at 10 Mbit/s.
const BUNDLE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Entries in one page of the index: what a gateway holds of a running job, 100 KB.
pub const PAGE_IMAGES_MAX: usize = 1000;

/// An image of the job, with its bytes if they came along.
pub struct Entry {
    pub image: JobImage,
    pub content: Option<Bytes>,
}

/// Reads what the caller named and checks it as far as it can be wrong as a whole.
pub async fn read(jobs: &Jobs, input: Option<create_job_request::Input>) -> Result<Vec<Entry>> {
    use create_job_request::Input;
    let (field, mut entries) = match input {
        Some(Input::Images(list)) => ("images.images", inline(jobs, list.images).await?),
        Some(Input::InputPrefix(prefix)) => ("input_prefix", manifest::of_prefix(jobs, &prefix).await?),
        Some(Input::ManifestUri(uri)) => ("manifest_uri", manifest::read(jobs, &uri).await?),
        None => return Err(Error::invalid("input", "set images, input_prefix or manifest_uri")),
    };
    let limits = &jobs.options;
    if entries.is_empty() {
        return Err(Error::invalid(field, "there must be at least one image"));
    }
    if entries.len() > limits.images_max {
        return Err(over(field, "images", entries.len() as u64, limits.images_max as u64));
    }
    let bytes = entries.iter().map(|entry| entry.image.size).sum::<u64>();
    if bytes > limits.bytes_max {
        return Err(over(field, "bytes", bytes, limits.bytes_max));
    }
    name_all(&mut entries, field)?;
    Ok(entries)
}

pub fn over(field: &str, unit: &str, found: u64, limit: u64) -> Error {
    Error::invalid(field, format!("{found} {unit}, the limit is {limit}"))
        .with_metadata("limit", limit)
        .with_metadata("found", found)
        .with_metadata("unit", unit)
}

/// One that is wrong by itself is kept with its error, which is its result.
async fn inline(jobs: &Jobs, images: Vec<Image>) -> Result<Vec<Entry>> {
    if images.len() > jobs.options.images_max {
        return Err(over("images.images", "images", images.len() as u64, jobs.options.images_max as u64));
    }
    let mut entries = Vec::with_capacity(images.len());
    for (index, image) in images.into_iter().enumerate() {
        let field = format!("images.images[{index}]");
        let mut entry =
            Entry { image: JobImage { custom_id: image.custom_id, ..JobImage::default() }, content: None };
        match image.source {
            Some(image::Source::Uri(uri)) => {
                entry.image.size = match files::is_file(&uri) {
                    true => jobs.folders.size(&uri, &format!("{field}.uri")).await?,
                    false => jobs.check_object(&uri, &format!("{field}.uri"))?,
                };
                entry.image.source = Some(job_image::Source::Uri(uri));
            }
            source => match intake::check_source(source, &field, jobs.core.options.image_bytes_max) {
                Ok(content) => {
                    entry.image.size = content.len() as u64;
                    entry.content = Some(content);
                }
                Err(error) => entry.image.source = Some(job_image::Source::Refused(to_rpc_status(&error))),
            },
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Each has a name, its own or its index, and no two the same.
fn name_all(entries: &mut [Entry], field: &str) -> Result<()> {
    let mut seen = HashMap::with_capacity(entries.len());
    for (index, entry) in (0_u32..).zip(entries.iter_mut()) {
        let image = &mut entry.image;
        image.index = index;
        let field = format!("{field}[{index}]");
        intake::check_custom_id(&image.custom_id, &field)?;
        if image.custom_id.is_empty() {
            image.custom_id = index.to_string();
        }
        if let Some(first) = seen.insert(image.custom_id.clone(), index) {
            return Err(Error::invalid(
                format!("{field}.custom_id"),
                format!("{:?} is also the name of image {first}", image.custom_id),
            ));
        }
    }
    Ok(())
}

/// Writes bytes and index. Gives how many pages there are. Nobody sees any of it before the job's record is there.
pub async fn write(store: &dyn Store, id: &JobId, entries: Vec<Entry>) -> Result<u32> {
    let mut bundle = Bundle { store, id, number: 0, content: Vec::new(), bytes: 0 };
    let mut pages = 0;
    let mut page = JobPage::default();
    let count = entries.len();
    for (at, Entry { mut image, content }) in entries.into_iter().enumerate() {
        if let Some(content) = content {
            image.source = Some(job_image::Source::Part(bundle.add(content).await?));
        }
        page.images.push(image);
        if page.images.len() == PAGE_IMAGES_MAX || at + 1 == count {
            let bytes = std::mem::take(&mut page).encode_to_vec();
            store.put(&id.page(pages), bytes.into()).await.context("write the job's index")?;
            pages += 1;
        }
    }
    bundle.write().await?;
    Ok(pages)
}

struct Bundle<'a> {
    store: &'a dyn Store,
    id: &'a JobId,
    number: u32,
    content: Vec<Bytes>,
    bytes: usize,
}

impl Bundle<'_> {
    async fn add(&mut self, content: Bytes) -> Result<JobPart> {
        if self.bytes + content.len() > BUNDLE_BYTES_MAX {
            self.write().await?;
        }
        let part = JobPart { bundle: self.number, offset: self.bytes as u64 };
        self.bytes += content.len();
        self.content.push(content);
        Ok(part)
    }

    async fn write(&mut self) -> Result<()> {
        let content = std::mem::take(&mut self.content);
        let whole = match content.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => {
                let mut whole = BytesMut::with_capacity(self.bytes);
                many.iter().for_each(|one| whole.extend_from_slice(one));
                whole.freeze()
            }
        };
        self.store.put(&self.id.bundle(self.number), whole).await.context("write the job's images")?;
        self.number += 1;
        self.bytes = 0;
        Ok(())
    }
}

/// A page of the index.
pub async fn page(store: &dyn Store, id: &JobId, number: u32) -> Result<Vec<JobImage>> {
    let bytes = store.get(&id.page(number)).await.context("read the job's index")?;
    let page = JobPage::decode(bytes);
    Ok(page.map_err(|error| Error::internal(error).context("read the job's index"))?.images)
}
