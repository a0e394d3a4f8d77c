//! Calls to the cloud by everybody who reports to us, added up. Senders report what they made since they started, and come
//! and go.

use std::collections::BTreeMap;

use proto::v1::CloudCalls;

/// More senders than a fleet has, and more operations than our services use: who makes up names stops here.
const SENDERS_MAX: usize = 21_000;
const OPERATIONS_MAX: usize = 200;
const NAME_BYTES_MAX: usize = 64;

type Counts = BTreeMap<(String, String), u64>;

#[derive(Debug, Default)]
pub struct Calls {
    senders: BTreeMap<String, Counts>,
    totals: Counts,
}

impl Calls {
    /// Takes in what `sender` says it made so far. A count that went back is a sender that started again.
    pub fn report(&mut self, sender: &str, calls: &[CloudCalls]) {
        if calls.is_empty() || (!self.senders.contains_key(sender) && self.senders.len() >= SENDERS_MAX) {
            return;
        }
        let known = self.senders.entry(sender.to_owned()).or_default();
        for CloudCalls { service, operation, count } in calls {
            if service.len() > NAME_BYTES_MAX || operation.len() > NAME_BYTES_MAX {
                continue;
            }
            let key = (service.clone(), operation.clone());
            if !self.totals.contains_key(&key) && self.totals.len() >= OPERATIONS_MAX {
                continue;
            }
            let before = known.insert(key.clone(), *count).unwrap_or(0);
            let total = self.totals.entry(key).or_default();
            *total = total.saturating_add(count.checked_sub(before).unwrap_or(*count));
        }
    }

    pub fn totals(&self) -> Vec<CloudCalls> {
        let calls = |((service, operation), count): (&(String, String), &u64)| CloudCalls {
            service: service.clone(),
            operation: operation.clone(),
            count: *count,
        };
        self.totals.iter().map(calls).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(operation: &str, count: u64) -> CloudCalls {
        CloudCalls { service: "SQS".to_owned(), operation: operation.to_owned(), count }
    }

    #[test]
    fn senders_add_up_and_may_start_again() {
        let mut all = Calls::default();
        all.report("gateway", &[calls("SendMessageBatch", 3)]);
        all.report("worker", &[calls("ReceiveMessage", 5), calls("SendMessageBatch", 1)]);
        all.report("gateway", &[calls("SendMessageBatch", 4)]);
        // It died, and made two more since.
        all.report("worker", &[calls("ReceiveMessage", 2)]);
        assert_eq!(all.totals(), [calls("ReceiveMessage", 7), calls("SendMessageBatch", 5)]);
    }

    #[test]
    fn nobody_fills_the_memory_with_names() {
        let mut all = Calls::default();
        for number in 0..OPERATIONS_MAX + 10 {
            all.report("worker", &[calls(&format!("Operation{number}"), 1)]);
        }
        all.report("worker", &[calls(&"x".repeat(65), 1)]);
        assert_eq!(all.totals().len(), OPERATIONS_MAX);
    }
}
