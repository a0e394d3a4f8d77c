//! Whether an image is worth queuing: predicted wait against what its caller can wait.

use platform::Result;
use proto::v1::Priority;
use tokio::time::Instant;

use crate::core::Core;

/// What a caller does when it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It hears why, and when to come back.
    Caller,
    /// An old client that never comes back: held as long as there is room (specs/upload.md).
    Held,
    /// A job's image: whoever submitted it has gone, and it may wait as long as it takes.
    #[allow(dead_code)] // Jobs come next.
    Job,
}

/// What is asked to be taken in.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)] // The rule comes next.
pub struct Asked {
    pub images: usize,
    pub priority: Priority,
    /// A worker must have started by then.
    pub start_by: Instant,
    pub patience: Patience,
}

impl Core {
    /// Refuses images that would wait longer than their caller.
    pub async fn admit(&self, asked: Asked) -> Result<()> {
        tracing::trace!(?asked, "admit");
        Ok(())
    }
}
