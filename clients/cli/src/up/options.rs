//! The options of `dunlin up`, and what each service and worker is given of them.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use autoscaler::PolicyName;
use classifier_worker::{bundled, model::ModelUrl};
use platform::{
    Error, Result,
    auth::{AccessOptions, Keys, Secret},
    options::{Check, Problems, parse_duration},
    serve::{self, TlsOptions},
    telemetry::LogFormat,
};

const EXAMPLES: &str = "\
Examples:
  dunlin up                                       ports 8000, 8001 and 8002
  dunlin up --listen 127.0.0.1:0                  any free port
  dunlin up --policy step --max-instances 4       a worker for every five waiting images
  dunlin up --model onnx:/models/mine             your own model
  dunlin up --model 'command:python3 classify.py' a program for each image";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where callers connect: gRPC, gRPC-web and HTTP on one port
    #[arg(long, env = "DUNLIN_LISTEN", default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    pub(super) listen: SocketAddr,
    /// Where workers connect
    #[arg(long, env = "DUNLIN_INTERNAL_LISTEN", default_value = "127.0.0.1:8001", value_name = "HOST:PORT")]
    pub(super) internal_listen: SocketAddr,
    /// Where the autoscaler can be asked
    #[arg(
        long,
        env = "DUNLIN_AUTOSCALER_LISTEN",
        default_value = "127.0.0.1:8002",
        value_name = "HOST:PORT"
    )]
    pub(super) autoscaler_listen: SocketAddr,
    /// Folder for the model, the inference library and the decisions [default: ~/.local/share/dunlin]
    #[arg(long, env = "DUNLIN_DATA", value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// The model: `bundled`, `onnx:FOLDER`, `command:PROGRAM ARGUMENTS...` or `stub:DURATION`
    #[arg(long, env = "DUNLIN_MODEL", default_value = "bundled", value_name = "MODEL")]
    pub(super) model: String,
    /// ONNX Runtime's library [default: got with pip at the first start]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(super) onnxruntime: Option<PathBuf>,
    /// How the number of workers is found
    #[arg(long, env = "DUNLIN_POLICY", default_value = "latency", value_enum, help_heading = "Scaling")]
    pub(super) policy: PolicyName,
    /// For `step` and `backlog`: images for each worker
    #[arg(
        long,
        env = "DUNLIN_MESSAGES_PER_INSTANCE",
        default_value_t = 5,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    pub(super) messages_per_instance: u32,
    /// For `latency`: 95 % of the images are to be answered within this
    #[arg(long, env = "DUNLIN_LATENCY_TARGET", default_value = "10s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    pub(super) latency_target: Duration,
    /// For `fixed`: this many workers
    #[arg(
        long,
        env = "DUNLIN_INSTANCES",
        default_value_t = 1,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    pub(super) instances: u32,
    /// Never fewer workers than this
    #[arg(
        long,
        env = "DUNLIN_MIN_INSTANCES",
        default_value_t = 0,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    pub(super) min_instances: u32,
    /// Never more workers than this [default: the processors of this machine]
    #[arg(long, env = "DUNLIN_MAX_INSTANCES", value_name = "COUNT", help_heading = "Scaling")]
    pub(super) max_instances: Option<u32>,
    /// The last worker stays this long after the last image
    #[arg(long, env = "DUNLIN_KEEP", default_value = "60s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    pub(super) keep: Duration,
    /// Wait this long before each worker is started, as if a machine had to boot
    #[arg(long, env = "DUNLIN_BOOT_DELAY", default_value = "0s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    pub(super) boot_delay: Duration,
    /// The longest a request may take when its caller sets no deadline
    #[arg(long, env = "DUNLIN_REQUEST_TIMEOUT", default_value = "300s", value_parser = parse_duration, value_name = "DURATION")]
    pub(super) request_timeout: Duration,
    /// Memory for results of images seen before, in bytes: an equal image gets the same answer; 0: each image is classified
    #[arg(long, env = "DUNLIN_CACHE_BYTES", default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    pub(super) cache_bytes: usize,
    /// Don't classify the photographs that come with Dunlin
    #[arg(long)]
    pub(super) no_samples: bool,
    /// Write the addresses there as JSON once they are bound, for programs
    #[arg(long, value_name = "FILE")]
    pub(super) addresses_file: Option<PathBuf>,
    /// After the word to stop, how long what is in flight may take to finish
    #[arg(long, env = "DUNLIN_GRACE", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub(super) grace: Duration,
    #[command(flatten)]
    pub(super) access: AccessOptions,
    /// Speak TLS on all ports with a certificate of this machine's own, made in the data folder
    #[arg(long, env = "DUNLIN_TLS", conflicts_with = "tls_cert", help_heading = "Access")]
    pub(super) tls: bool,
    #[command(flatten)]
    pub(super) jobs: gateway::JobOptions,
    /// Between the services of this start.
    #[arg(skip)]
    pub(super) secret: Option<Secret>,
    /// What to log: a level, or `target=level` parts with commas
    #[arg(long, env = "DUNLIN_LOG", default_value = "warn", value_name = "FILTER", help_heading = "Logs")]
    pub(super) log: String,
    /// How log lines look
    #[arg(long, env = "DUNLIN_LOG_FORMAT", default_value = "auto", value_enum, help_heading = "Logs")]
    pub(super) log_format: LogFormat,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if let Err(error) = self.model.parse::<ModelUrl>() {
            problems.add("--model", error);
        }
        match self.gateway_options(None) {
            Ok(options) => options.check(problems),
            Err(error) => problems.add("gateway", error),
        }
        match self.autoscaler_options(&[OsString::from("worker")], None) {
            Ok(options) => options.check(problems),
            Err(error) => problems.add("autoscaler", error),
        }
    }
}

impl Options {
    pub(super) fn gateway_options(&self, data: Option<&Path>) -> Result<gateway::Options> {
        let timeout = platform::options::show_duration(self.request_timeout);
        let target = platform::options::show_duration(self.latency_target);
        let grace = platform::options::show_duration(self.grace);
        let (listen, internal) = (self.listen.to_string(), self.internal_listen.to_string());
        let mut arguments = vec![
            "--listen",
            &listen,
            "--internal-listen",
            &internal,
            "--request-timeout",
            &timeout,
            "--latency-target",
            &target,
            // Nobody balances load before it.
            "--drain-delay",
            "0s",
            "--grace",
            &grace,
            "--queue",
            "memory:",
        ];
        if self.model == "bundled" {
            arguments.extend(["--serve-model", bundled::NAME_AND_VERSION]);
        }
        let mut options = gateway::Options::from_arguments(arguments)
            .map_err(|error| Error::internal(error).context("set up the gateway"))?;
        // Jobs are kept there.
        options.store = data.map(store_url);
        options.jobs = self.jobs.clone();
        options.cache_bytes = self.cache_bytes;
        options.access = self.access.clone();
        options.internal.peers.internal_secret = Some(self.secret());
        options.internal.peers.internal_secret_file = None;
        if self.tls {
            let TlsOptions { tls_cert, tls_key, .. } = &self.access.tls;
            options.internal.internal_tls_cert = tls_cert.clone();
            options.internal.internal_tls_key = tls_key.clone();
            options.internal.peers.internal_ca = tls_cert.clone();
        }
        Ok(options)
    }

    pub(super) fn autoscaler_options(
        &self,
        command: &[OsString],
        data: Option<&Path>,
    ) -> Result<autoscaler::Options> {
        let mut options =
            autoscaler::Options::from_arguments(["--listen", &self.autoscaler_listen.to_string()])
                .map_err(|error| Error::internal(error).context("set up the autoscaler"))?;
        options.access = self.access.clone();
        if !self.tls {
            // A certificate of somebody else's is not for this machine's own names.
            options.access.tls = TlsOptions::default();
        }
        options.peers.internal_secret = Some(self.secret());
        options.peers.internal_secret_file = None;
        options.fleet = "local:".to_owned();
        // The gateway's own, whatever the environment names for a worker.
        options.queue = None;
        options.worker_command = command.to_vec();
        options.boot_delay = self.boot_delay;
        options.policy = Some(self.policy);
        options.messages_per_instance = self.messages_per_instance;
        options.latency_target = self.latency_target;
        options.instances = self.instances;
        options.min_instances = self.min_instances;
        options.max_instances = self.max_instances;
        options.keep = self.keep;
        options.grace = self.grace;
        options.store = data.map(store_url);
        Ok(options)
    }

    /// There is always one; before the start, while options are checked, any will do.
    fn secret(&self) -> Secret {
        self.secret.clone().unwrap_or_else(Keys::new_secret)
    }

    /// This program again, as a worker.
    pub(super) fn worker_command(&self, gateway: SocketAddr, data: &Path) -> Result<Vec<OsString>> {
        let program =
            std::env::current_exe().map_err(|error| Error::internal(error).context("find this program"))?;
        let mut command: Vec<OsString> = vec![program.into(), "worker".into()];
        command.extend(["--queue".into(), format!("broker://{}", serve::at_home(gateway)).into()]);
        command.extend(["--model".into(), self.model.clone().into(), "--data".into(), data.into()]);
        command.extend(["--log".into(), self.log.clone().into(), "--exit-on-stdin-close".into()]);
        let grace = platform::options::show_duration(self.grace);
        command.extend(["--grace".into(), grace.into()]);
        if let Some(ca) = self.access.tls.tls_cert.as_ref().filter(|_| self.tls) {
            command.extend(["--internal-ca".into(), ca.into()]);
        }
        if let Some(library) = &self.onnxruntime {
            command.extend(["--onnxruntime".into(), library.into()]);
        }
        Ok(command)
    }
}

/// The one of both services, each with keys of its own.
fn store_url(data: &Path) -> String {
    format!("file://{}", data.join("store").display())
}
