//! Files that people and programs replace while we run: looked at now and then. No notification of the kernel's: those are lost
//! on network and overlay file systems, where secrets are often mounted.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until};

/// What a file looked like: another of these is another content.
type Look = Option<(SystemTime, u64, u64)>;

pub struct Changes {
    files: Vec<(PathBuf, Look)>,
}

impl Changes {
    /// Changes from now on. Made before the files are read for the first time, so that none is missed.
    pub fn new<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let files = files.into_iter().map(|path| (path.to_owned(), look(path))).collect();
        Self { files }
    }

    /// Returns when a file looks different. Dropped and called again, it misses nothing.
    pub async fn next(&mut self, period: Duration) {
        loop {
            sleep_until(Instant::now() + period).await;
            if self.look_again().await {
                return;
            }
        }
    }

    async fn look_again(&mut self) -> bool {
        let paths: Vec<PathBuf> = self.files.iter().map(|(path, _)| path.clone()).collect();
        // Off the async threads: a network file system may be away.
        let looked =
            tokio::task::spawn_blocking(move || paths.iter().map(|path| look(path)).collect::<Vec<_>>());
        let Ok(looks) = looked.await else { return false };
        let changed = self.files.iter().zip(&looks).any(|((_, before), now)| before != now);
        for ((_, before), now) in self.files.iter_mut().zip(looks) {
            *before = now;
        }
        changed
    }
}

fn look(path: &Path) -> Look {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
