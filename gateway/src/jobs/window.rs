//! How much of all jobs is in the queue at once: the rest waits in the store and takes no memory.

use std::sync::Arc;

use platform::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of all images of jobs in the queue, in KiB: a sixth of what the embedded queue may hold by default.
const KIB_MAX: u32 = 128 * 1024;

pub struct Window {
    images: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// Room for an image, until it is answered.
pub struct Room {
    _image: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

impl Window {
    pub fn new(images_max: usize) -> Self {
        let images_max = images_max.min(Semaphore::MAX_PERMITS);
        Self { images: Arc::new(Semaphore::new(images_max)), kib: Arc::new(Semaphore::new(KIB_MAX as usize)) }
    }

    /// Waits for room for images of these sizes, in bytes. Fairly: first come, first served. Dropped, it has taken none.
    pub async fn enter(&self, sizes: &[u64]) -> Result<Vec<Room>> {
        let mut rooms = Vec::with_capacity(sizes.len());
        for size in sizes {
            let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX).min(KIB_MAX);
            // Only the first may wait: two that hold a part of what each other wants would wait for ever.
            let room = if rooms.is_empty() { Some(self.wait(kib).await?) } else { self.try_enter(kib) };
            match room {
                Some(room) => rooms.push(room),
                None => break,
            }
        }
        Ok(rooms)
    }

    async fn wait(&self, kib: u32) -> Result<Room> {
        let image = Arc::clone(&self.images).acquire_owned().await.map_err(Error::internal)?;
        let kib = Arc::clone(&self.kib).acquire_many_owned(kib).await.map_err(Error::internal)?;
        Ok(Room { _image: image, _kib: kib })
    }

    fn try_enter(&self, kib: u32) -> Option<Room> {
        let image = Arc::clone(&self.images).try_acquire_owned().ok()?;
        let kib = Arc::clone(&self.kib).try_acquire_many_owned(kib).ok()?;
        Some(Room { _image: image, _kib: kib })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_enter_than_there_is_room_for() {
        let window = Window::new(5);
        let three = window.enter(&[1, 2000, 0]).await.unwrap();
        assert_eq!(three.len(), 3);
        let two = window.enter(&[1; 10]).await.unwrap();
        assert_eq!(two.len(), 2);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), window.enter(&[1]));
        assert!(waiting.await.is_err());
        drop(three);
        assert_eq!(window.enter(&[1; 10]).await.unwrap().len(), 3);
        drop(two);
        let large = window.enter(&[u64::MAX, 1]).await.unwrap();
        assert_eq!(large.len(), 1, "one larger than everything goes alone");
    }
}
