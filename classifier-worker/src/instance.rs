//! The machine under a worker, when it is an EC2 instance.

use platform::Result;
use prost_types::Timestamp;
use tokio::sync::watch;

#[cfg(feature = "aws")]
use crate::imds::Metadata;
use crate::pipeline::{Status, intake::Mode};

#[cfg(feature = "aws")]
pub(crate) struct Instance {
    pub(crate) id: String,
    metadata: Metadata,
}

#[cfg(feature = "aws")]
impl Instance {
    pub(crate) async fn find() -> Result<Self> {
        let metadata = Metadata::new();
        Ok(Self { id: metadata.instance_id().await?, metadata })
    }

    async fn notice(&self) -> Timestamp {
        self.metadata.notice().await
    }
}

#[cfg(not(feature = "aws"))]
pub(crate) struct Instance {
    pub(crate) id: String,
}

#[cfg(not(feature = "aws"))]
impl Instance {
    pub(crate) async fn find() -> Result<Self> {
        let sentence =
            "--on-instance: this program was built without AWS; the classifier-worker program has it";
        Err(platform::Error::new(platform::Kind::Config, sentence))
    }

    async fn notice(&self) -> Timestamp {
        std::future::pending().await
    }
}

/// When the machine is about to be taken away: takes nothing new, gives back what was not begun, and tells the
/// autoscaler's session through `taken`. Runs until dropped.
pub(crate) async fn watch(
    instance: Option<&Instance>,
    status: &Status,
    taken: &watch::Sender<Option<Timestamp>>,
) {
    if let Some(instance) = instance {
        let time = instance.notice().await;
        tracing::warn!(instance_id = instance.id, at = %time, "this instance is taken away, draining");
        taken.send_replace(Some(time));
        status.set_mode(Mode::Paused);
    }
    std::future::pending::<()>().await;
}
