//! Answers for a job's images that no worker gets to see: refused when they came, cancelled, too late.

use platform::{Error, Kind, Result};
use proto::internal::v1::job_image::Source;

use super::runner::{Mode, Run};
use crate::group::failed;

impl Run {
    /// Whether the next had its answer when it came.
    pub(super) fn answer_refused(&mut self) -> bool {
        let [image] = self.batch.as_slice() else { return false };
        let error = match &image.source {
            Some(Source::Refused(status)) => platform::error::from_rpc_status(status),
            None => Error::internal("an image without a source"),
            Some(_) => return false,
        };
        let result = failed(image.index, image.custom_id.clone(), &error);
        self.batch.clear();
        self.answer(result);
        true
    }

    /// One after the other: the index ends before the job does, which only a damaged store can bring about.
    pub(super) fn answer_missing(&mut self) {
        if let Some((index, _)) = (0_u32..).zip(&self.answered).find(|(_, answered)| !**answered) {
            let error = Error::internal("it is missing in the job's index");
            self.answer(failed(index, index.to_string(), &error));
        }
    }

    /// Withdraws what no worker has taken up, and answers for what was not queued. What runs is waited for.
    pub(super) async fn end_rest(&mut self, error: &Error) -> Result<()> {
        self.mode = Mode::Ending;
        let unstarted = self.in_flight.values().filter(|image| !image.is_started);
        for custom_id in unstarted.map(|image| image.custom_id.clone()).collect::<Vec<_>>() {
            if error.kind() == Kind::Cancelled {
                self.group.cancel(&custom_id);
            }
        }
        self.todo.put_back(std::mem::take(&mut self.batch));
        while let Some(image) = self.todo.next(&self.answered).await? {
            self.answer(failed(image.index, image.custom_id, error));
            if self.writer.is_full() {
                self.commit().await?;
            }
        }
        Ok(())
    }
}
