//! What of a job is still to be queued, a page at a time.

use std::{collections::VecDeque, sync::Arc};

use platform::{Result, store::Store};
use proto::internal::v1::{JobImage, job_image::Source};

use super::{input, keys::JobId};

/// Images queued in one go: as many as a worker takes, and at most a megabyte, or one that is larger.
const TOGETHER_MAX: usize = 16;
const TOGETHER_BYTES_MAX: u64 = 1024 * 1024;

pub struct Todo {
    store: Arc<dyn Store>,
    id: JobId,
    pages: u32,
    next_page: u32,
    images: VecDeque<JobImage>,
}

impl Todo {
    pub fn new(store: Arc<dyn Store>, id: JobId, pages: u32) -> Self {
        Self { store, id, pages, next_page: 0, images: VecDeque::new() }
    }

    /// The next that no result is known of; `None` after the last.
    pub async fn next(&mut self, answered: &[bool]) -> Result<Option<JobImage>> {
        loop {
            while let Some(image) = self.images.pop_front() {
                if !is_answered(answered, image.index) {
                    return Ok(Some(image));
                }
            }
            if self.next_page >= self.pages {
                return Ok(None);
            }
            self.images = input::page(&*self.store, &self.id, self.next_page).await?.into();
            self.next_page += 1;
        }
    }

    /// The next to queue together. Those that were refused when they came are alone.
    pub async fn next_together(&mut self, answered: &[bool]) -> Result<Vec<JobImage>> {
        let mut together: Vec<JobImage> = Vec::new();
        let mut bytes = 0;
        while together.len() < TOGETHER_MAX {
            let Some(image) = self.next(answered).await? else { break };
            let is_alone = matches!(image.source, Some(Source::Refused(_)) | None);
            let fits = together.is_empty() || (!is_alone && bytes + image.size <= TOGETHER_BYTES_MAX);
            if !fits {
                self.images.push_front(image);
                break;
            }
            bytes += image.size;
            together.push(image);
            if is_alone {
                break;
            }
        }
        Ok(together)
    }

    /// They could not be queued: they come next, in their order.
    pub fn put_back(&mut self, images: Vec<JobImage>) {
        images.into_iter().rev().for_each(|image| self.images.push_front(image));
    }
}

pub fn is_answered(answered: &[bool], index: u32) -> bool {
    // One beyond the end is not ours.
    answered.get(index as usize).copied().unwrap_or(true)
}
