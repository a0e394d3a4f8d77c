//! Queues a job's images: as many as there is room for, and again later what the queue did not take.

use platform::{Error, Result};
use proto::internal::v1::JobImage;
use tokio::time::Instant;

use super::{
    picture,
    runner::{InFlight, Run},
    window::Room,
};
use crate::group::{Accepted, failed};

impl Run {
    /// Queues as many of the batch as there is room for.
    pub(super) async fn queue(&mut self, mut rooms: Vec<Room>) -> Result<()> {
        if self.one_by_one {
            rooms.truncate(1);
        }
        let rest = self.batch.split_off(rooms.len().min(self.batch.len()));
        let images = std::mem::replace(&mut self.batch, rest);
        let pictures = match picture::read(&self.jobs, &self.id, &images).await {
            Ok(pictures) => pictures,
            Err(error) => {
                self.later(images, &error);
                return Ok(());
            }
        };
        let (mut accepted, mut queued) = (Vec::new(), Vec::new());
        for ((image, picture), room) in images.into_iter().zip(pictures).zip(rooms) {
            match picture {
                Ok(content) => {
                    let custom_id = image.custom_id.clone();
                    accepted.push(Accepted { index: image.index, custom_id, content });
                    queued.push((image, room));
                }
                Err(error) => self.answer(failed(image.index, image.custom_id, &error)),
            }
        }
        match self.group.submit(accepted, &self.options).await {
            Ok(()) => {
                self.backoff.reset();
                for (image, room) in queued {
                    self.in_flight.insert(image.index, InFlight::new(image.custom_id, room));
                }
            }
            Err(error) if error.kind().is_retryable() || queued.len() > 1 => {
                self.one_by_one |= !error.kind().is_retryable();
                self.later(queued.into_iter().map(|(image, _)| image).collect(), &error);
            }
            Err(error) => {
                for (image, _) in queued {
                    self.answer(failed(image.index, image.custom_id, &error));
                }
            }
        }
        Ok(())
    }

    /// They are tried again in a while.
    fn later(&mut self, images: Vec<JobImage>, error: &Error) {
        tracing::debug!(%error, job.id = %self.id, "queue a job's images");
        self.queue_at = Instant::now() + self.backoff.pause();
        self.todo.put_back(std::mem::take(&mut self.batch));
        self.todo.put_back(images);
    }
}
