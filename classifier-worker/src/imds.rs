//! The EC2 instance this worker runs on, as the metadata service tells (IMDSv2): its id, and when it is taken away.

use std::time::Duration;

use aws_config::{
    imds::client::{Client, error::ImdsError},
    provider_config::ProviderConfig,
};
use platform::{Error, Kind, Result};
use prost_types::Timestamp;
use serde::Deserialize;

/// A notice comes two minutes ahead; AWS advises to look every five seconds.
const LOOK: Duration = Duration::from_secs(5);

/// The metadata service is on the same machine.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct Metadata(Client);

impl Metadata {
    pub(crate) fn new() -> Self {
        let provider = ProviderConfig::without_region().with_http_client(platform::aws::http_client());
        let client = Client::builder()
            .configure(&provider)
            .max_attempts(3)
            .connect_timeout(ANSWER_WAIT)
            .read_timeout(ANSWER_WAIT);
        Self(client.build())
    }

    pub(crate) async fn instance_id(&self) -> Result<String> {
        let id = self.0.get("/latest/meta-data/instance-id").await.map_err(|error| {
            Error::new(
                Kind::Config,
                "--on-instance: the metadata service does not say which instance this is; run it on EC2 with IMDSv2 on, or leave the flag out",
            )
            .with_source(error)
        })?;
        Ok(id.as_ref().to_owned())
    }

    /// Waits for the word that this spot instance will be stopped or terminated, and says when.
    pub(crate) async fn notice(&self) -> Timestamp {
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.0.get("/latest/meta-data/spot/instance-action").await {
                Ok(notice) => match parse(notice.as_ref()) {
                    Some(time) => return time,
                    None => tracing::warn!(notice = notice.as_ref(), "not a spot notice"),
                },
                // None was given: what every other instance hears all its life.
                Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => {
                    failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "ask for a spot notice");
                    }
                }
            }
        }
    }
}

fn parse(notice: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Notice {
        action: String,
        time: String,
    }
    let notice = serde_json::from_str::<Notice>(notice).ok()?;
    tracing::debug!(action = notice.action, "spot notice");
    notice.time.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_says_when() {
        let check = |notice: &str, want: Option<i64>| {
            assert_eq!(parse(notice).map(|time| time.seconds), want, "{notice}");
        };
        check(r#"{"action": "terminate", "time": "2017-09-18T08:22:00Z"}"#, Some(1_505_722_920));
        check(r#"{"action": "stop", "time": "2026-11-24T12:00:00Z"}"#, Some(1795521600));
        check(r#"{"action": "stop"}"#, None);
        check("<html>", None);
    }
}
