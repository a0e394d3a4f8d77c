//! Drains written on the instances themselves, where they outlive this process and the worker's session.

use super::{CloudFleet, State};
use crate::fleet::cloud::Tags;

/// Decision that asked the instance to drain; empty: none did, or it was taken back.
pub(super) const DRAIN_TAG: &str = "dunlin:drain";

/// Ids in one call, of the thousand that EC2 takes: they are all listed, and a wrong one costs no more than the tags.
const CHUNK: usize = 500;

impl CloudFleet {
    pub(super) async fn write_drains(&self, instance_ids: &[String], decision_id: Option<&str>) {
        let value = decision_id.unwrap_or_default();
        let changed: Vec<_> = {
            let state = self.state();
            let differs = |id: &&String| state.sight.is_ours(id) && state.drain_tag(id) != value;
            instance_ids.iter().filter(differs).cloned().collect()
        };
        let tags = Tags::from([(DRAIN_TAG.to_owned(), value.to_owned())]);
        for chunk in changed.chunks(CHUNK) {
            if self.state().budgets.other.take(self.now(), 1) == 0 {
                tracing::warn!(count = chunk.len(), "drains are not written on instances: too many calls");
                return;
            }
            if let Err(error) = self.cloud.tag(chunk, &tags).await {
                tracing::warn!(%error, "write drains on instances");
                return;
            }
            let written = chunk.iter().map(|instance_id| (instance_id.clone(), value.to_owned()));
            self.state().drains.extend(written);
        }
    }
}

impl State {
    /// As we wrote it last, or else as it is listed.
    fn drain_tag(&self, instance_id: &str) -> &str {
        match self.drains.get(instance_id) {
            Some(written) => written,
            None => self.sight.drain_tag(instance_id),
        }
    }
}
