//! A job as every output format shows it.

use std::collections::BTreeMap;

use comfy_table::{Cell, Table};
use platform::error::from_rpc_status;
use proto::v1::{Job, JobState, ResultCounts};
use serde::Serialize;

use crate::{
    output::{Style, new_table, number},
    times::rfc3339,
};

pub(super) const CSV_HEADER: [&str; 9] =
    ["name", "state", "total", "succeeded", "failed", "cancelled", "expired", "create_time", "end_time"];

#[derive(Debug, Serialize)]
pub(super) struct JobRecord {
    pub(super) name: String,
    pub(super) state: &'static str,
    counts: CountsRecord,
    create_time: String,
    start_time: String,
    end_time: String,
    expire_time: String,
    output_uri: String,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct CountsRecord {
    total: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    expired: u32,
}

impl From<ResultCounts> for CountsRecord {
    fn from(counts: ResultCounts) -> Self {
        let ResultCounts { total, succeeded, failed, cancelled, expired } = counts;
        Self { total, succeeded, failed, cancelled, expired }
    }
}

impl From<Job> for JobRecord {
    fn from(job: Job) -> Self {
        Self {
            state: short_name(job.state()),
            counts: job.counts.unwrap_or_default().into(),
            create_time: rfc3339(job.create_time.as_ref()),
            start_time: rfc3339(job.start_time.as_ref()),
            end_time: rfc3339(job.end_time.as_ref()),
            expire_time: rfc3339(job.expire_time.as_ref()),
            error: job.error.as_ref().map(|status| from_rpc_status(status).message().to_owned()),
            labels: job.labels.into_iter().collect(),
            output_uri: job.output_uri,
            name: job.name,
        }
    }
}

/// `RUNNING` for `JOB_STATE_RUNNING`.
fn short_name(state: JobState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("JOB_STATE_").unwrap_or(name)
}

impl JobRecord {
    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{:<10}{}", "job", self.name),
            format!("{:<10}{}", "state", self.state),
            format!("{:<10}{}", "images", self.counts.words()),
        ];
        let times = [
            ("created", &self.create_time),
            ("started", &self.start_time),
            ("ended", &self.end_time),
            ("kept to", &self.expire_time),
            ("results", &self.output_uri),
        ];
        lines.extend(
            times
                .iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(title, text)| format!("{title:<10}{text}")),
        );
        lines.extend(self.labels.iter().map(|(name, value)| format!("{:<10}{name}={value}", "label")));
        lines.extend(self.error.iter().map(|error| format!("{:<10}{error}", "error")));
        lines
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        format!("{:<12}{}  {}", self.state, self.name, self.counts.words())
    }

    pub(super) fn csv_fields(&self) -> [String; 9] {
        let counts = &self.counts;
        [
            self.name.clone(),
            self.state.to_owned(),
            counts.total.to_string(),
            counts.succeeded.to_string(),
            counts.failed.to_string(),
            counts.cancelled.to_string(),
            counts.expired.to_string(),
            self.create_time.clone(),
            self.end_time.clone(),
        ]
    }
}

impl CountsRecord {
    fn done(&self) -> u32 {
        self.succeeded + self.failed + self.cancelled + self.expired
    }

    fn words(&self) -> String {
        let parts = [
            (self.succeeded, "succeeded"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
        ];
        let parts =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let parts = parts.collect::<Vec<_>>().join(", ");
        let parts = if parts.is_empty() { parts } else { format!(": {parts}") };
        format!("{} of {} answered{parts}", self.done(), self.total)
    }
}

pub(super) fn table(jobs: &[JobRecord], style: Style) -> Table {
    let mut table = new_table(style, &["JOB", "STATE", "DONE", "IMAGES", "CREATED", "LABELS"]);
    for job in jobs {
        let labels: Vec<_> = job.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.add_row([
            Cell::new(&job.name),
            Cell::new(job.state),
            number(job.counts.done()),
            number(job.counts.total),
            Cell::new(&job.create_time),
            Cell::new(labels.join(" ")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_how_far_it_is() {
        let counts = ResultCounts { total: 5, succeeded: 2, failed: 1, ..ResultCounts::default() };
        let job = Job { name: "jobs/1".to_owned(), state: 2, counts: Some(counts), ..Job::default() };
        let lines = JobRecord::from(job).lines();
        assert_eq!(lines[1], "state     RUNNING");
        assert_eq!(lines[2], "images    3 of 5 answered: 2 succeeded, 1 failed");
        assert_eq!(lines.len(), 3);
        assert_eq!(CountsRecord::from(ResultCounts::default()).words(), "0 of 0 answered");
    }
}
