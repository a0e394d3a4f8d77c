//! The gateway's options.

use std::{net::SocketAddr, time::Duration};

use platform::{
    auth::{AccessOptions, InternalOptions, Listen},
    options::{Check, Problems, Profile, parse_duration},
    serve::IMAGE_BYTES_LIMIT,
};

use crate::jobs::JobOptions;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where callers connect: gRPC, gRPC-web and HTTP on one port
    #[arg(long, env = "DUNLIN_LISTEN", default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Where workers connect: the queue and the replies
    #[arg(long, env = "DUNLIN_INTERNAL_LISTEN", default_value = "127.0.0.1:8001", value_name = "HOST:PORT")]
    pub internal_listen: SocketAddr,
    /// How workers reach the internal port, when it is not the address it listens on
    #[arg(long, env = "DUNLIN_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where tasks wait: `memory:` (this process serves it to workers) or `sqs://REGION/NAME`, with NAME-batch beside it
    #[arg(long, env = "DUNLIN_QUEUE", default_value = "memory:", value_name = "URL")]
    pub queue: String,
    /// The store for images that do not fit into a message: `s3://BUCKET/PREFIX` or `file:///FOLDER`; not needed for `memory:`
    #[arg(long, env = "DUNLIN_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The largest message that carries its image, in bytes, as far as the queue takes it; 0: every image goes to the store
    #[arg(long, env = "DUNLIN_INLINE_BYTES_MAX", value_name = "BYTES")]
    pub inline_bytes_max: Option<usize>,
    /// Have workers keep every result in their `--results` store, under the image's id
    #[arg(long, env = "DUNLIN_KEEP_RESULTS")]
    pub keep_results: bool,
    /// How workers answer: `stream` (straight to the internal port) or `queue` (an SQS queue of this gateway's own, for workers
    /// that cannot reach it; they cannot hear of callers that went away)
    #[arg(long, env = "DUNLIN_REPLY_BY", default_value = "stream", value_enum)]
    pub reply_by: ReplyBy,
    /// Buckets whose objects callers may name as s3://BUCKET/KEY; none: no URI is read
    #[arg(long = "uri-bucket", env = "DUNLIN_URI_BUCKETS", value_name = "BUCKET", value_delimiter = ',')]
    pub uri_buckets: Vec<String>,
    /// `cse546`: what the course's rules ask for: images under their file names, results kept under the stem, every image
    /// in the store, equal images answered from memory
    #[arg(long, env = "DUNLIN_PROFILE", default_value = "default", value_enum)]
    pub profile: Profile,
    /// The autoscaler to report load to, as `http://HOST:PORT`; none: nothing starts workers
    #[arg(long, env = "DUNLIN_AUTOSCALER", value_name = "URL")]
    pub autoscaler: Option<String>,
    /// Models that callers may name, as NAME@VERSION, the default first; workers add theirs when they connect
    #[arg(
        long = "serve-model",
        env = "DUNLIN_SERVE_MODEL",
        value_name = "NAME@VERSION",
        value_delimiter = ','
    )]
    pub models: Vec<String>,
    /// The longest a request may take when its caller sets no deadline (specs/upload.md: old
    /// clients wait 300 s)
    #[arg(long, env = "DUNLIN_REQUEST_TIMEOUT", default_value = "300s", value_parser = parse_duration, value_name = "DURATION")]
    pub request_timeout: Duration,
    /// Refuse an image that would wait longer than this for a worker, whatever its caller's deadline; none: its deadline alone
    #[arg(long, env = "DUNLIN_MAX_WAIT", value_parser = parse_duration, value_name = "DURATION")]
    pub max_wait: Option<Duration>,
    /// An answer that takes longer counts as late to the autoscaler
    #[arg(long, env = "DUNLIN_LATENCY_TARGET", default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    pub latency_target: Duration,
    /// The largest image, in bytes
    #[arg(long, env = "DUNLIN_IMAGE_BYTES_MAX", default_value_t = 10 * 1024 * 1024, value_name = "BYTES")]
    pub image_bytes_max: usize,
    /// The most images in one request
    #[arg(long, env = "DUNLIN_IMAGES_PER_REQUEST_MAX", default_value_t = 1000, value_name = "COUNT")]
    pub images_per_request_max: usize,
    /// The most images that may wait for an answer, all callers together
    #[arg(long, env = "DUNLIN_PENDING_MAX", default_value_t = 20_000, value_name = "COUNT")]
    pub pending_max: usize,
    /// The most bytes of images in the queue, all callers together
    #[arg(long, env = "DUNLIN_QUEUE_BYTES_MAX", default_value_t = 768 * 1024 * 1024, value_name = "BYTES")]
    pub queue_bytes_max: usize,
    /// Memory for results of images seen before, in bytes: an equal image gets the same answer, and waits for the same task when
    /// one is on its way; 0: each image is classified
    #[arg(long, env = "DUNLIN_CACHE_BYTES", default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    pub cache_bytes: usize,
    /// Keep those results in the store, too, as results/KEY, where other gateways and the next start find them; old ones are
    /// for the bucket's lifecycle to remove
    #[arg(long, env = "DUNLIN_CACHE_STORE")]
    pub cache_store: bool,
    /// A body over HTTP that stops arriving for this long is given up
    #[arg(long, env = "DUNLIN_BODY_IDLE_TIMEOUT", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub body_idle_timeout: Duration,
    /// After the word to stop, how long new work is still taken while health says NOT_SERVING, so that load balancers notice
    #[arg(long, env = "DUNLIN_DRAIN_DELAY", default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
    pub drain_delay: Duration,
    /// After that, how long what is in flight may take to finish
    #[arg(long, env = "DUNLIN_GRACE", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub grace: Duration,
    #[command(flatten)]
    pub access: AccessOptions,
    #[command(flatten)]
    pub internal: InternalOptions,
    #[command(flatten)]
    pub jobs: JobOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReplyBy {
    Stream,
    Queue,
}

impl Options {
    pub fn is_broker(&self) -> bool {
        self.queue == "memory:"
    }

    /// Whether workers keep results.
    pub fn keeps_results(&self) -> bool {
        self.keep_results || self.profile == Profile::Cse546
    }

    /// As from a command line without the program's name. Checks nothing across options.
    pub fn from_arguments<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Arguments {
            #[command(flatten)]
            options: Options,
        }
        <Arguments as clap::Parser>::try_parse_from(arguments).map(|arguments| arguments.options)
    }
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        let is_sqs = ["sqs://", "https://", "http://"].iter().any(|scheme| self.queue.starts_with(scheme));
        if !self.is_broker() && !is_sqs {
            problems.add(
                "--queue",
                format_args!("{:?} is unknown; known: memory:, sqs://REGION/NAME", self.queue),
            );
        }
        if self.reply_by == ReplyBy::Queue && !is_sqs {
            problems.add("--reply-by", "queue needs a --queue of sqs://");
        }
        if self.profile == Profile::Cse546 && self.store.is_none() {
            problems.add("--store", "the profile cse546 keeps every image in the store: name one");
        }
        if self.cache_store && self.store.is_none() {
            problems.add("--cache-store", "there is no store; name one with --store");
        }
        if self.cache_store && self.cache_bytes == 0 {
            problems.add("--cache-store", "there is no cache with --cache-bytes 0");
        }
        if self.image_bytes_max == 0 || self.image_bytes_max > IMAGE_BYTES_LIMIT {
            problems.add("--image-bytes-max", format_args!("must be 1 to {IMAGE_BYTES_LIMIT}"));
        }
        for (flag, count) in [
            ("--images-per-request-max", self.images_per_request_max),
            ("--pending-max", self.pending_max),
            ("--queue-bytes-max", self.queue_bytes_max),
        ] {
            if count == 0 {
                problems.add(flag, "must be at least 1");
            }
        }
        for (flag, duration) in [
            ("--request-timeout", self.request_timeout),
            ("--latency-target", self.latency_target),
            ("--max-wait", self.max_wait.unwrap_or(Duration::MAX)),
            ("--body-idle-timeout", self.body_idle_timeout),
        ] {
            if duration.is_zero() {
                problems.add(flag, "must be longer than 0s");
            }
        }
        self.jobs.check(problems);
        for model in &self.models {
            if !matches!(model.split_once('@'), Some((name, version)) if !name.is_empty() && !version.is_empty())
            {
                problems.add("--serve-model", format_args!("{model:?} is not NAME@VERSION"));
            }
        }
        if let Some(url) = &self.autoscaler
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            problems
                .add("--autoscaler", format_args!("{url:?} is not http://HOST:PORT or https://HOST:PORT"));
        }
        self.access.check_listen("--listen", self.listen, problems);
        let internal = Listen {
            flag: "--internal-listen",
            address: self.internal_listen,
            allow_anonymous: self.access.allow_anonymous,
        };
        self.internal.check_listen(internal, problems);
    }
}
