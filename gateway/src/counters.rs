//! What became of images that were not classified for their callers, by reason. Counts since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why an image was not classified, or not once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Refused: no room, by count or by bytes.
    RefusedQueueFull,
    /// Refused: it would wait longer than its caller, or than we let anybody wait.
    RefusedWait,
    /// Taken in, and its caller went away or took it back.
    Withdrawn,
    /// Taken in, and its deadline passed before its answer came.
    Expired,
    /// Answered from the cache.
    CacheHit,
    /// Looked for in the cache and not found.
    CacheMiss,
    /// Waits for the task of an equal image.
    Coalesced,
}

impl Counted {
    /// In the order of their declaration: a count's place is its discriminant.
    pub const ALL: [Self; 7] = [
        Self::RefusedQueueFull,
        Self::RefusedWait,
        Self::Withdrawn,
        Self::Expired,
        Self::CacheHit,
        Self::CacheMiss,
        Self::Coalesced,
    ];

    /// The metric's label: stable, lower case.
    pub fn label(self) -> &'static str {
        match self {
            Self::RefusedQueueFull => "refused_queue_full",
            Self::RefusedWait => "refused_wait",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::CacheHit => "cache_hit",
            Self::CacheMiss => "cache_miss",
            Self::Coalesced => "coalesced",
        }
    }
}

#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counted::ALL.len()]);

impl Counters {
    pub fn add(&self, what: Counted, images: usize) {
        if let Some(count) = self.0.get(what as usize) {
            count.fetch_add(images as u64, Ordering::Relaxed);
        }
    }

    pub fn get(&self, what: Counted) -> u64 {
        self.0.get(what as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself() {
        let counters = Counters::default();
        for (images, what) in Counted::ALL.into_iter().enumerate() {
            counters.add(what, images);
        }
        for (images, what) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(counters.get(what), images as u64, "{}", what.label());
        }
    }
}
