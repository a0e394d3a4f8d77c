//! Token buckets in the cloud's hands. EC2's own numbers: RunInstances and StartInstances 1,000 instances and 2 more a
//! second, Describe 100 and 20.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::Api;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: BTreeMap<Api, Bucket>,
    /// Calls so far, refused ones included.
    pub calls: BTreeMap<Api, u64>,
    /// Calls of a kind that will be refused whatever the bucket says.
    pub refuse: BTreeMap<Api, u32>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Throttle {
    /// Counts a call. False when it is refused.
    pub fn take(&mut self, api: Api, cost: usize, at: Instant) -> bool {
        *self.calls.entry(api).or_default() += 1;
        if let Some(left) = self.refuse.get_mut(&api).filter(|left| **left > 0) {
            *left -= 1;
            return false;
        }
        let (capacity, per_second) = match api {
            Api::Launch | Api::Start => (1000.0, 2.0),
            Api::Describe => (100.0, 20.0),
            Api::Stop | Api::Terminate | Api::ConsoleOutput | Api::Tag => (200.0, 20.0),
        };
        let bucket = self.buckets.entry(api).or_insert(Bucket { tokens: capacity, at });
        let since = at.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * per_second).min(capacity);
        bucket.at = at;
        let cost = cost as f64;
        if bucket.tokens < cost {
            return false;
        }
        bucket.tokens -= cost;
        true
    }
}
