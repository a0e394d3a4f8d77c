//! `CreateJob`: everything is checked, then written, and the record last: until it is there, there is no job.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use platform::{Error, Kind, Result, auth::Caller, error::ResultExt as _};
use prost::Message as _;
use prost_types::Timestamp;
use proto::{
    internal::v1::JobRecord,
    v1::{ClassifyOptions, CreateJobRequest, Job, JobState, ResultCounts, create_job_request},
};

use super::{Jobs, input, keys::JobId, records, request::Asked};
use crate::intake::{self, Checked};

/// How long a creation may take: reading a list of 50,000 from S3 and writing 32 MiB to it is over in a tenth.
pub const CREATION_MAX: Duration = Duration::from_secs(300);

/// Classes of all images of a job together: the results of a job are in memory once, to be put in order.
const CLASSES_MAX: u64 = 500_000;

const LABELS_MAX: usize = 16;
/// As Kubernetes and DNS have it.
const LABEL_NAME_BYTES_MAX: usize = 63;
const LABEL_VALUE_BYTES_MAX: usize = 256;

impl Jobs {
    /// Creates it, also when the caller goes away in the middle: its repeat finds the job.
    pub async fn create(self: &Arc<Self>, request: CreateJobRequest, caller: Caller) -> Result<Job> {
        let kib = u32::try_from(request.encoded_len().div_ceil(1024)).unwrap_or(u32::MAX);
        let arriving = Arc::clone(&self.arriving).try_acquire_many_owned(kib).map_err(|_| {
            let sentence = "too many jobs are being submitted at this moment; try again";
            Error::new(Kind::QueueFull, sentence).with_retry_after(Duration::from_secs(1))
        })?;
        let jobs = Arc::clone(self);
        let creating = async move {
            let _until_it_ends = arriving;
            tokio::time::timeout(CREATION_MAX, jobs.create_within(request, caller)).await
        };
        let created =
            tokio::spawn(creating).await.map_err(|error| Error::internal(error).context("create job"))?;
        created.unwrap_or_else(|_| {
            Err(Error::new(Kind::DeadlineExceeded, "the job could not be written in time; try again"))
        })
    }

    async fn create_within(&self, request: CreateJobRequest, caller: Caller) -> Result<Job> {
        let options = request.options.clone().unwrap_or_default();
        let checked = intake::check_options(Some(options.clone()), &self.core.models)?;
        check_labels(&request.labels)?;
        self.buckets.check_output(&request.output_prefix)?;
        let webhook = self.webhooks.check(request.webhook.as_ref()).await?;
        let asked = Asked::of(&request, caller.key_id.as_deref().unwrap_or_default())?;
        let _turn = match &asked {
            Some(asked) => Some(self.requests.take(&asked.key).await),
            None => None,
        };
        let id = JobId::new();
        if let Some(asked) = &asked
            && let Some(earlier) = self.find_earlier(asked, &id).await?
        {
            return Ok(records::job(&earlier));
        }
        let record = JobRecord {
            output_prefix: request.output_prefix,
            webhook,
            owner: caller.key_id.as_deref().unwrap_or_default().to_owned(),
            request_key: asked.as_ref().map_or_else(String::new, |asked| asked.key.clone()),
            job: Some(new_job(&id, options, request.labels)),
            ..JobRecord::default()
        };
        let new = New { id: &id, input: request.input, checked, caller };
        match self.write(new, record).await {
            Ok(record) => {
                self.kept.fetch_add(1, Ordering::Relaxed);
                self.tell(|news| news.created.push(id));
                Ok(records::job(&record))
            }
            Err(error) => {
                if let Some(asked) = &asked
                    && self.records.is_missing(&id).await
                {
                    // So that a corrected request may use the id.
                    let _ = self.store.delete(&asked.key).await;
                }
                Err(error)
            }
        }
    }

    async fn write(&self, new: New<'_>, mut record: JobRecord) -> Result<JobRecord> {
        let New { id, input, checked, caller } = new;
        let _one_of_few = self.creating.acquire().await.map_err(Error::internal)?;
        self.room_for_one_more()?;
        let entries = input::read(self, input).await?;
        check_classes(entries.len(), checked.top_k)?;
        caller.charge(entries.len() as u64)?;
        let total = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        record.job.get_or_insert_default().counts = Some(ResultCounts { total, ..ResultCounts::default() });
        let most = self.options.timeout;
        let lasting = checked.max_queue_duration.map_or(most, |longest| longest.min(most));
        record.deadline = Some(Timestamp::from(SystemTime::now() + lasting));
        // The mark first: whatever is written and belongs to no job is found by it.
        self.store.put(&id.mark(), Bytes::new()).await.context("write the job's mark")?;
        record.pages = match input::write(&*self.store, id, entries).await {
            Ok(pages) => pages,
            Err(error) => {
                if let Err(error) = self.remove(id).await {
                    tracing::warn!(%error, job.id = %id, "remove a job that was not created");
                }
                return Err(error);
            }
        };
        // If that fails it may be there all the same, so nothing is removed: by its mark it is run or swept.
        self.records.create(id, &record).await?;
        Ok(record)
    }

    fn room_for_one_more(&self) -> Result<()> {
        let (kept, limit) = (self.kept.load(Ordering::Relaxed), self.options.jobs_max);
        if kept < limit {
            return Ok(());
        }
        let sentence = format!(
            "{kept} jobs are kept, the limit is {limit}; the oldest go {} after their end",
            platform::options::show_duration(self.options.retention)
        );
        Err(Error::new(Kind::QuotaExceeded, sentence)
            .with_metadata("limit", limit)
            .with_metadata("found", kept)
            .with_retry_after(Duration::from_secs(60)))
    }
}

/// What is to be written beside the record.
struct New<'a> {
    id: &'a JobId,
    input: Option<create_job_request::Input>,
    checked: Checked,
    caller: Caller,
}

fn new_job(id: &JobId, options: ClassifyOptions, labels: HashMap<String, String>) -> Job {
    Job {
        name: id.name(),
        state: JobState::Queued.into(),
        options: Some(options),
        create_time: Some(platform::time::now()),
        labels,
        ..Job::default()
    }
}

fn check_classes(images: usize, top_k: u32) -> Result<()> {
    let classes = (images as u64).saturating_mul(u64::from(top_k));
    if classes <= CLASSES_MAX {
        return Ok(());
    }
    let limit = CLASSES_MAX / (images as u64).max(1);
    Err(Error::invalid(
        "options.top_k",
        format!("{top_k} classes of {images} images, the limit is {CLASSES_MAX} in all"),
    )
    .with_metadata("limit", limit)
    .with_metadata("found", top_k))
}

fn check_labels(labels: &HashMap<String, String>) -> Result<()> {
    if labels.len() > LABELS_MAX {
        return Err(Error::invalid("labels", format!("{} labels, the limit is {LABELS_MAX}", labels.len()))
            .with_metadata("limit", LABELS_MAX)
            .with_metadata("found", labels.len()));
    }
    let mut names: Vec<_> = labels.iter().collect();
    names.sort();
    for (name, value) in names {
        if !is_label_name(name) {
            let sentence = "1 to 63 lower-case letters, digits, '.', '_' and '-'";
            return Err(Error::invalid("labels", format!("{name:?} is no name for a label: {sentence}")));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            let sentence = format!("{} bytes, the limit is {LABEL_VALUE_BYTES_MAX}", value.len());
            return Err(Error::invalid(format!("labels.{name}"), sentence));
        }
    }
    Ok(())
}

pub fn is_label_name(name: &str) -> bool {
    let is_fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine)
}
