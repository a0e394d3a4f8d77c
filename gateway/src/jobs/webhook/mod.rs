//! Calls whoever wants to hear of a job's end. What is still to be called is in the job's record, so it survives us; a
//! call may be made twice and says the same `webhook-id` then.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use platform::{Error, Kind, Result};
use prost_types::Timestamp;
use proto::{
    internal::v1::{JobRecord, JobWebhook},
    v1::{Job, JobState, ResultCounts, Webhook},
};
use serde::Serialize;

use super::{Jobs, keys::JobId, records, runner::Ended};

mod guard;
mod send;
mod sign;

use guard::Guard;
use sign::{Message, Secrets};

/// For how long a receiver may be away.
const LASTING: Duration = Duration::from_secs(24 * 3600);

/// Pauses between calls: this, three times as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A claim to call: a call and what is written after it.
const CLAIM: Duration = Duration::from_secs(30);

pub struct Webhooks {
    guard: Guard,
    secrets: Secrets,
    tls: Arc<tokio_rustls::rustls::ClientConfig>,
}

#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    what: &'static str,
    timestamp: String,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    name: String,
    state: &'static str,
    counts: Counts,
    create_time: String,
    start_time: String,
    end_time: String,
    expire_time: String,
    output_uri: String,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Counts {
    total: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    expired: u32,
}

impl Webhooks {
    pub fn open(options: &super::JobOptions) -> Result<Self> {
        Ok(Self {
            guard: Guard::new(&options.webhook_plain),
            secrets: Secrets::open(&options.webhook_secrets)?,
            tls: send::tls()?,
        })
    }

    /// Whether a new job may have it. A host that is not known now may be later.
    pub async fn check(&self, webhook: Option<&Webhook>) -> Result<Option<JobWebhook>> {
        let Some(Webhook { url, secret_name }) = webhook else { return Ok(None) };
        let target = self.guard.check(url)?;
        if !self.secrets.has(secret_name) {
            let why = format!("there is no secret {secret_name:?}; ask the operator (--webhook-secret)");
            return Err(Error::invalid("webhook.secret_name", why));
        }
        match self.guard.look_up(&target).await {
            Err(error) if error.kind() == Kind::InvalidRequest => return Err(error),
            Ok(_) | Err(_) => {}
        }
        Ok(Some(JobWebhook { url: url.clone(), secret_name: secret_name.clone(), ..JobWebhook::default() }))
    }

    /// Looked up and checked anew each time: whom a name means may have changed.
    async fn call(&self, id: &JobId, webhook: &JobWebhook, job: Job) -> Result<StatusCode> {
        let target = self.guard.check(&webhook.url)?;
        let address = self.guard.look_up(&target).await?;
        let body = serde_json::to_vec(&body(job))
            .map_err(|error| Error::internal(error).context("write a webhook"))?;
        let message_id = format!("msg_{id}");
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let message = Message { id: &message_id, timestamp, body: &body };
        let signature = self.secrets.sign(&webhook.secret_name, &message);
        let signature = signature.ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("--webhook-secret: there is no {:?} any more", webhook.secret_name),
            )
        })?;
        let path = &target.url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &target.url[url::Position::BeforeHost..url::Position::AfterPort];
        let request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("dunlin/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Error::internal(error).context("write a webhook"))?;
        send::call(&target, address, &self.tls, request).await
    }
}

fn body(job: Job) -> Body {
    let time = |time: Option<Timestamp>| {
        let time = time.and_then(|time| SystemTime::try_from(time).ok());
        time.map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
    };
    let ResultCounts { total, succeeded, failed, cancelled, expired } = job.counts.unwrap_or_default();
    Body {
        what: "job.ended",
        timestamp: time(job.end_time),
        data: Data {
            state: state(job.state()),
            counts: Counts { total, succeeded, failed, cancelled, expired },
            create_time: time(job.create_time),
            start_time: time(job.start_time),
            end_time: time(job.end_time),
            expire_time: time(job.expire_time),
            output_uri: job.output_uri,
            labels: job.labels.into_iter().collect(),
            name: job.name,
        },
    }
}

/// `SUCCEEDED` for `JOB_STATE_SUCCEEDED`.
fn state(state: JobState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("JOB_STATE_").unwrap_or(name)
}

/// How long until the next call is due; `None` when none is.
pub fn due(record: &JobRecord) -> Option<Duration> {
    let webhook = record.webhook.as_ref().filter(|webhook| !webhook.closed)?;
    Some(webhook.next_attempt.as_ref().map_or(Duration::ZERO, platform::time::until))
}

/// Makes one call, and notes what came of it.
pub async fn deliver(jobs: &Arc<Jobs>, id: &JobId) -> Result<Ended> {
    let Some(record) = jobs.claim_call(id, CLAIM).await? else { return Ok(Ended::Elsewhere) };
    let Some(webhook) = &record.webhook else { return Ok(Ended::Done) };
    let called = jobs.webhooks.call(id, webhook, records::job(&record)).await;
    let ended =
        record.job.as_ref().and_then(|job| job.end_time.as_ref()).map_or(LASTING, platform::time::since);
    let is_over = ended >= LASTING;
    let (attempts, closed) = (
        webhook.attempts + 1,
        match called {
            Ok(status) if status.is_success() => true,
            Ok(StatusCode::GONE) => {
                tracing::info!(job.id = %id, "the webhook's receiver wants no more calls");
                true
            }
            Ok(status) => {
                tracing::info!(job.id = %id, %status, attempt = webhook.attempts + 1, is_over, "call a webhook");
                is_over
            }
            Err(error) => {
                tracing::info!(job.id = %id, %error, attempt = webhook.attempts + 1, is_over, "call a webhook");
                is_over
            }
        },
    );
    let again = FIRST_PAUSE.saturating_mul(3_u32.saturating_pow(attempts - 1)).min(LONGEST_PAUSE);
    let noted = jobs.records.update(id, |record| {
        record.claim = None;
        if let Some(webhook) = &mut record.webhook {
            (webhook.attempts, webhook.closed) = (attempts, closed);
            webhook.next_attempt = Some(platform::time::in_future(again));
        }
        true
    });
    noted.await.map(|_| Ended::Done)
}
