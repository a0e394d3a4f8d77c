//! The worker's options, without the configuration file and the log: `dunlin worker` has them too.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use platform::{
    auth::PeerOptions,
    options::{Check, Problems, Profile, parse_duration},
};

use crate::model::ModelUrl;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The queue to take images from: `broker://HOST:PORT` of a gateway, or `sqs://REGION/NAME` with NAME-batch beside it
    #[arg(long, env = "DUNLIN_QUEUE", value_name = "URL")]
    pub queue: String,
    /// The model: `bundled` (EfficientNet-Lite0, comes with Dunlin), `onnx:FOLDER` (model.onnx, labels.txt, model.toml),
    /// `command:PROGRAM ARGUMENTS...` (run once an image, the image's path comes last) or `stub:DURATION` (for tests)
    #[arg(long, env = "DUNLIN_MODEL", value_name = "MODEL", default_value = "bundled")]
    pub model: ModelUrl,
    /// The autoscaler to report to: `http://host:port`; without one, nobody stops this worker but a signal
    #[arg(long, env = "DUNLIN_AUTOSCALER", value_name = "URL")]
    pub autoscaler: Option<String>,
    /// The store of images that tasks point to: `s3://BUCKET/PREFIX` or `file:///FOLDER`; not needed while images ride in the tasks
    #[arg(long, env = "DUNLIN_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The store of results that tasks want kept [default: the one of `--store`]
    #[arg(long, env = "DUNLIN_RESULTS", value_name = "URL")]
    pub results: Option<String>,
    /// An SQS queue that gets every result as JSON besides, for other consumers: `sqs://REGION/NAME`
    #[arg(long, env = "DUNLIN_RESULTS_QUEUE", value_name = "URL")]
    pub results_queue: Option<String>,
    /// `cse546`: kept and published results are what the course's rules ask for: `(name,label)`
    #[arg(long, env = "DUNLIN_PROFILE", value_enum, default_value = "default")]
    pub profile: Profile,
    /// This is an EC2 instance: takes its id from the metadata service, and drains at a notice that a spot instance ends
    #[arg(long, env = "DUNLIN_ON_INSTANCE")]
    pub on_instance: bool,
    /// With `--on-instance`: idle and without the autoscaler for this long, the worker ends with exit code 79, at which its
    /// systemd unit turns the machine off
    #[arg(long, env = "DUNLIN_ORPHAN_AFTER", value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    pub orphan_after: Duration,
    /// Tell the autoscaler after each such time without work that this worker could go; it decides whether it does
    #[arg(long, env = "DUNLIN_OFFER_AFTER", value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub offer_after: Duration,
    /// The machine or process slot this worker runs on; default: the process id
    #[arg(long, env = "DUNLIN_INSTANCE_ID", value_name = "ID")]
    pub instance_id: Option<String>,
    /// This worker's name; default: a new one
    #[arg(long, env = "DUNLIN_WORKER_ID", value_name = "ID")]
    pub worker_id: Option<String>,
    /// Threads that decode and classify, each with a model of its own. One, because the autoscaler starts a worker a core
    #[arg(long, env = "DUNLIN_THREADS", value_name = "N", default_value = "1")]
    pub threads: NonZeroUsize,
    /// How long a task is this worker's before it must be extended; a killed worker delays its images by this
    #[arg(long, env = "DUNLIN_LEASE", value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub lease: Duration,
    /// The most images in one pass of the model
    #[arg(long, env = "DUNLIN_MAX_BATCH_SIZE", value_name = "N", default_value = "8")]
    pub max_batch_size: NonZeroUsize,
    /// How long to wait for a batch to fill; 0s never waits, which is best on CPUs
    #[arg(long, env = "DUNLIN_MAX_QUEUE_DELAY", value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub max_queue_delay: Duration,
    /// Folder for the model and the inference library; default: $XDG_DATA_HOME/dunlin or ~/.local/share/dunlin
    #[arg(long, env = "DUNLIN_DATA", value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// ONNX Runtime's library (libonnxruntime.so); default: the one in the data folder
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// Get ONNX Runtime with pip (once, about 17 MB) if it is not in the data folder
    #[arg(long, env = "DUNLIN_INSTALL_ONNXRUNTIME")]
    pub install_onnxruntime: bool,
    /// How long the program of `--model command:` may take for one image
    #[arg(long, env = "DUNLIN_COMMAND_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub command_timeout: Duration,
    /// How long to finish what is held after the word to stop
    #[arg(long, env = "DUNLIN_GRACE", value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub grace: Duration,
    /// Stop when standard input closes: the parent is gone or wants this worker gone
    #[arg(long, env = "DUNLIN_EXIT_ON_STDIN_CLOSE")]
    pub exit_on_stdin_close: bool,
    #[command(flatten)]
    pub peers: PeerOptions,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        const LEASE_MIN: Duration = Duration::from_secs(1);
        // What SQS allows (its visibility timeout), so that every kind of queue takes it.
        const LEASE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
        const BATCH_MAX: usize = 256;
        const THREADS_MAX: usize = 256;
        const DELAY_MAX: Duration = Duration::from_secs(1);
        self.peers.check(problems);
        if !(LEASE_MIN..=LEASE_MAX).contains(&self.lease) {
            problems.add("--lease", "must be from 1s to 12h");
        }
        if self.max_batch_size.get() > BATCH_MAX {
            problems.add("--max-batch-size", format_args!("must be at most {BATCH_MAX}"));
        }
        if self.threads.get() > THREADS_MAX {
            problems.add("--threads", format_args!("must be at most {THREADS_MAX}"));
        }
        if self.max_queue_delay > DELAY_MAX {
            problems.add("--max-queue-delay", "must be at most 1s");
        }
        if self.command_timeout.is_zero() {
            problems.add("--command-timeout", "must be longer than 0s");
        }
        for (flag, duration) in [("--orphan-after", self.orphan_after), ("--offer-after", self.offer_after)] {
            if duration.is_zero() {
                problems.add(flag, "must be longer than 0s");
            }
        }
        if let Some(url) = &self.autoscaler
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            problems.add(
                "--autoscaler",
                format_args!("{url:?} is not a URL like http://host:port or https://host:port"),
            );
        }
    }
}
