//! The calls to AWS that a run took, as all services count them, and what they cost at list prices.

use std::{collections::BTreeMap, time::Duration};

use proto::v1::{CloudCalls, GetStatusRequest, autoscaler_service_client::AutoscalerServiceClient};
use serde::Serialize;

use crate::connect::AutoscalerOptions;

/// Workers and gateways report once a second.
pub(super) const REPORTS: Duration = Duration::from_millis(2500);

/// A message is charged for every 64 KiB of it that are begun (SQS pricing).
const SQS_CHUNK_BYTES: f64 = 65_536.0;

/// Dollars for a million requests, us-east-1, list prices of November 2026: SQS standard queues after the first million a month,
/// S3 Standard. Descriptions of EC2 cost nothing.
const SQS: f64 = 0.40;
const S3_WRITE: f64 = 5.00;
const S3_READ: f64 = 0.40;

/// A task without its image, and an answer.
const SMALL_MESSAGE_BYTES: f64 = 500.0;

/// How often each operation was called so far: `SQS SendMessageBatch`. `None` when there is no autoscaler to ask.
pub(super) async fn calls(autoscaler: &AutoscalerOptions) -> Option<Vec<CloudCalls>> {
    let channel = autoscaler.connect().await.ok()?;
    let status = AutoscalerServiceClient::new(channel).get_status(GetStatusRequest {}).await.ok()?;
    Some(status.into_inner().cloud_calls)
}

#[derive(Debug, Serialize, PartialEq)]
pub(super) struct Cloud {
    calls: BTreeMap<String, u64>,
    calls_per_image: f64,
    usd_per_million_images: f64,
}

impl Cloud {
    /// What was called between two looks. `None` when nothing was: on one machine there is no cloud.
    pub(super) fn new(
        before: &[CloudCalls],
        after: &[CloudCalls],
        images: u64,
        image_bytes: usize,
    ) -> Option<Self> {
        let name = |calls: &CloudCalls| format!("{} {}", calls.service, calls.operation);
        let before = before.iter().map(|calls| (name(calls), calls.count)).collect::<BTreeMap<_, _>>();
        let made = after.iter().map(|calls| {
            let name = name(calls);
            let count = calls.count.saturating_sub(before.get(&name).copied().unwrap_or(0));
            (name, count)
        });
        let calls = made.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>();
        if calls.is_empty() || images == 0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let images = images as f64;
        let is_inline = !calls.contains_key("S3 GetObject");
        #[allow(clippy::cast_precision_loss, reason = "an image is far below 2^52 bytes")]
        let message_bytes = if is_inline { image_bytes as f64 } else { SMALL_MESSAGE_BYTES };
        // Many messages in one call are charged by their bytes together.
        let chunks = images * message_bytes / SQS_CHUNK_BYTES;
        let mut usd = 0.0;
        let mut total = 0.0;
        for (name, count) in &calls {
            #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let count = *count as f64;
            total += count;
            usd += match name.as_str() {
                "SQS SendMessageBatch" | "SQS SendMessage" | "SQS ReceiveMessage" => count.max(chunks) * SQS,
                name if name.starts_with("SQS ") => count * SQS,
                "S3 PutObject" | "S3 ListObjectsV2" => count * S3_WRITE,
                name if name.starts_with("S3 ") => count * S3_READ,
                _ => 0.0,
            };
        }
        Some(Self { calls, calls_per_image: total / images, usd_per_million_images: usd / images })
    }

    pub(super) fn words(&self) -> String {
        let mut calls = self.calls.iter().collect::<Vec<_>>();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let calls = calls.into_iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
        format!(
            "{:.2} calls an image, ${:.2} for a million images at list prices ({})",
            self.calls_per_image,
            self.usd_per_million_images,
            calls.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(rows: &[(&str, &str, u64)]) -> Vec<CloudCalls> {
        let row = |(service, operation, count): &(&str, &str, u64)| CloudCalls {
            service: (*service).to_owned(),
            operation: (*operation).to_owned(),
            count: *count,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn cost_is_by_call_and_by_the_bytes_of_messages() {
        let before = calls(&[("SQS", "SendMessageBatch", 50), ("EC2", "DescribeInstances", 3)]);
        let after = calls(&[
            ("SQS", "SendMessageBatch", 150),
            ("SQS", "ReceiveMessage", 100),
            ("SQS", "DeleteMessageBatch", 100),
            ("EC2", "DescribeInstances", 3),
        ]);
        let cloud = Cloud::new(&before, &after, 1000, 65_536).unwrap();
        assert!((cloud.calls_per_image - 0.3).abs() < 1e-9);
        // A chunk for each image in both directions, and a tenth of a delete.
        assert!((cloud.usd_per_million_images - 0.84).abs() < 1e-9, "{cloud:?}");
        assert!(
            cloud.words().starts_with("0.30 calls an image, $0.84 for a million images"),
            "{}",
            cloud.words()
        );
    }

    #[test]
    fn image_in_the_store_costs_a_write_and_a_read() {
        let after =
            calls(&[("S3", "PutObject", 1000), ("S3", "GetObject", 1000), ("SQS", "SendMessageBatch", 100)]);
        let cloud = Cloud::new(&[], &after, 1000, 60_000).unwrap();
        assert!((cloud.usd_per_million_images - 5.44).abs() < 1e-6, "{cloud:?}");
    }

    #[test]
    fn without_a_cloud_there_is_nothing_to_say() {
        assert_eq!(Cloud::new(&[], &[], 10, 10), None);
        let same = calls(&[("SQS", "ReceiveMessage", 7)]);
        assert_eq!(Cloud::new(&same, &same, 10, 10), None);
    }
}
