//! The options of jobs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use platform::options::{Problems, parse_duration};

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Jobs")]
pub struct JobOptions {
    /// Jobs may read manifests and images as file:// from this folder and below it; may be given more than once
    #[arg(long = "job-folder", env = "DUNLIN_JOB_FOLDERS", value_name = "FOLDER", value_delimiter = ',')]
    pub folders: Vec<PathBuf>,
    /// Buckets that results of jobs may be written to as s3://BUCKET/PREFIX; none: they stay in the store
    #[arg(
        long = "job-output-bucket",
        env = "DUNLIN_JOB_OUTPUT_BUCKETS",
        value_name = "BUCKET",
        value_delimiter = ','
    )]
    pub output_buckets: Vec<String>,
    /// How long an ended job is kept with its images and results. A day: whoever submitted it in the evening fetches
    /// it in the morning, and a request id is remembered as long
    #[arg(long = "job-retention", env = "DUNLIN_JOB_RETENTION", default_value = "24h", value_parser = parse_duration, value_name = "DURATION")]
    pub retention: Duration,
    /// The longest a job may take; images not answered by then expire
    #[arg(long = "job-timeout", env = "DUNLIN_JOB_TIMEOUT", default_value = "24h", value_parser = parse_duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// The most jobs that are kept, ended ones included
    #[arg(long, env = "DUNLIN_JOBS_MAX", default_value_t = 10_000, value_name = "COUNT")]
    pub jobs_max: usize,
    /// The most images in one job
    #[arg(
        long = "job-images-max",
        env = "DUNLIN_JOB_IMAGES_MAX",
        default_value_t = 50_000,
        value_name = "COUNT"
    )]
    pub images_max: usize,
    /// The most bytes of all images of one job, as far as they are known when it comes
    #[arg(long = "job-bytes-max", env = "DUNLIN_JOB_BYTES_MAX", default_value_t = 10 * 1024 * 1024 * 1024, value_name = "BYTES")]
    pub bytes_max: u64,
    /// The most images of jobs that are in the queue at once: the others wait in the store
    #[arg(long = "job-window", env = "DUNLIN_JOB_WINDOW", default_value_t = 1000, value_name = "COUNT")]
    pub window: usize,
    /// A secret that webhooks may be signed with: its name, and the file it is in (as `whsec_` and base64, or as it is)
    #[arg(
        long = "webhook-secret",
        env = "DUNLIN_WEBHOOK_SECRETS",
        value_name = "NAME=FILE",
        value_delimiter = ','
    )]
    pub webhook_secrets: Vec<String>,
    /// Webhooks may go to this host and port whatever its address is, and without TLS
    #[arg(
        long = "webhook-plain",
        env = "DUNLIN_WEBHOOK_PLAIN",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub webhook_plain: Vec<String>,
}

impl JobOptions {
    pub fn check(&self, problems: &mut Problems) {
        for (flag, duration) in [("--job-retention", self.retention), ("--job-timeout", self.timeout)] {
            if duration.is_zero() {
                problems.add(flag, "must be longer than 0s");
            }
        }
        for (flag, count) in [
            ("--jobs-max", self.jobs_max),
            ("--job-images-max", self.images_max),
            ("--job-window", self.window),
        ] {
            if count == 0 {
                problems.add(flag, "must be at least 1");
            }
        }
        for folder in &self.folders {
            if !folder.is_dir() {
                problems.add("--job-folder", format_args!("{} is no folder", folder.display()));
            }
        }
        for secret in &self.webhook_secrets {
            match secret.split_once('=') {
                Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                    if let Err(error) = std::fs::read(file) {
                        problems.add("--webhook-secret", format_args!("can't read {file}: {error}"));
                    }
                }
                _ => problems.add("--webhook-secret", "has to be NAME=FILE"),
            }
        }
        for place in &self.webhook_plain {
            let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() && place.parse::<SocketAddr>().is_err() {
                problems.add("--webhook-plain", format_args!("{place:?} is not HOST:PORT"));
            }
        }
    }
}
