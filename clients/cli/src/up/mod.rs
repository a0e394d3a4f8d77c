//! `dunlin up`: gateway and autoscaler in this process, workers as its children, a few photographs
//! classified, and the addresses printed. No cloud account.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use autoscaler::{Autoscaler, PolicyName};
use classifier_worker::{bundled, engine, model::ModelUrl};
use gateway::Gateway;
use platform::{
    Error, Result,
    auth::{AccessOptions, Keys, Secret},
    options::{Check, Problems, parse_duration},
    serve::{self, TlsOptions},
    shutdown::Shutdown,
    telemetry::LogFormat,
};
use proto::v1::ListDecisionsRequest;
use serde::Serialize;

use self::certificate::Certificate;
use crate::{
    connect::{AccessOptions as KeyOptions, Address, AutoscalerAddress, AutoscalerOptions, GatewayOptions},
    decisions,
    failure::{Failure, Outcome},
};

mod certificate;
mod head;
mod samples;

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
    listen: SocketAddr,
    /// Where workers connect
    #[arg(long, env = "DUNLIN_INTERNAL_LISTEN", default_value = "127.0.0.1:8001", value_name = "HOST:PORT")]
    internal_listen: SocketAddr,
    /// Where the autoscaler can be asked
    #[arg(
        long,
        env = "DUNLIN_AUTOSCALER_LISTEN",
        default_value = "127.0.0.1:8002",
        value_name = "HOST:PORT"
    )]
    autoscaler_listen: SocketAddr,
    /// Folder for the model, the inference library and the decisions [default: ~/.local/share/dunlin]
    #[arg(long, env = "DUNLIN_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The model: `bundled`, `onnx:FOLDER`, `command:PROGRAM ARGUMENTS...` or `stub:DURATION`
    #[arg(long, env = "DUNLIN_MODEL", default_value = "bundled", value_name = "MODEL")]
    model: String,
    /// ONNX Runtime's library [default: got with pip at the first start]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// How the number of workers is found
    #[arg(long, env = "DUNLIN_POLICY", default_value = "latency", value_enum, help_heading = "Scaling")]
    policy: PolicyName,
    /// For `step` and `backlog`: images for each worker
    #[arg(
        long,
        env = "DUNLIN_MESSAGES_PER_INSTANCE",
        default_value_t = 5,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    messages_per_instance: u32,
    /// For `latency`: 95 % of the images are to be answered within this
    #[arg(long, env = "DUNLIN_LATENCY_TARGET", default_value = "10s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    latency_target: Duration,
    /// For `fixed`: this many workers
    #[arg(
        long,
        env = "DUNLIN_INSTANCES",
        default_value_t = 1,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    instances: u32,
    /// Never fewer workers than this
    #[arg(
        long,
        env = "DUNLIN_MIN_INSTANCES",
        default_value_t = 0,
        value_name = "COUNT",
        help_heading = "Scaling"
    )]
    min_instances: u32,
    /// Never more workers than this [default: the processors of this machine]
    #[arg(long, env = "DUNLIN_MAX_INSTANCES", value_name = "COUNT", help_heading = "Scaling")]
    max_instances: Option<u32>,
    /// The last worker stays this long after the last image
    #[arg(long, env = "DUNLIN_KEEP", default_value = "60s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    keep: Duration,
    /// Wait this long before each worker is started, as if a machine had to boot
    #[arg(long, env = "DUNLIN_BOOT_DELAY", default_value = "0s", value_parser = parse_duration, value_name = "DURATION", help_heading = "Scaling")]
    boot_delay: Duration,
    /// The longest a request may take when its caller sets no deadline
    #[arg(long, env = "DUNLIN_REQUEST_TIMEOUT", default_value = "300s", value_parser = parse_duration, value_name = "DURATION")]
    request_timeout: Duration,
    /// Memory for results of images seen before, in bytes: an equal image gets the same answer; 0: each image is classified
    #[arg(long, env = "DUNLIN_CACHE_BYTES", default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    cache_bytes: usize,
    /// Don't classify the photographs that come with Dunlin
    #[arg(long)]
    no_samples: bool,
    /// Write the addresses there as JSON once they are bound, for programs
    #[arg(long, value_name = "FILE")]
    addresses_file: Option<PathBuf>,
    /// After the word to stop, how long what is in flight may take to finish
    #[arg(long, env = "DUNLIN_GRACE", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    grace: Duration,
    #[command(flatten)]
    access: AccessOptions,
    /// Speak TLS on all ports with a certificate of this machine's own, made in the data folder
    #[arg(long, env = "DUNLIN_TLS", conflicts_with = "tls_cert", help_heading = "Access")]
    tls: bool,
    /// Between the services of this start.
    #[arg(skip)]
    secret: Option<Secret>,
    /// What to log: a level, or `target=level` parts with commas
    #[arg(long, env = "DUNLIN_LOG", default_value = "warn", value_name = "FILTER", help_heading = "Logs")]
    log: String,
    /// How log lines look
    #[arg(long, env = "DUNLIN_LOG_FORMAT", default_value = "auto", value_enum, help_heading = "Logs")]
    log_format: LogFormat,
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

/// How this process reaches its own services.
struct Own {
    gateway: GatewayOptions,
    autoscaler: AutoscalerOptions,
}

/// For programs that start it.
#[derive(Serialize)]
struct Addresses {
    public: SocketAddr,
    internal: SocketAddr,
    autoscaler: SocketAddr,
}

pub(crate) async fn run(mut options: Options) -> Outcome {
    options.secret = Some(Keys::new_secret());
    // For the photographs, which this process sends to itself.
    options.access.own_key = options.access.keys.is_some().then(Keys::new_secret);
    let log = platform::telemetry::LogOptions { filter: options.log.clone(), log_format: options.log_format };
    log.start()?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let data = engine::data_folder(options.data.as_deref())?;
    let certificate = options.tls.then(|| Certificate::open(&data)).transpose()?;
    if let Some(made) = &certificate {
        options.access.tls.tls_cert = Some(made.certificate.clone());
        options.access.tls.tls_key = Some(made.key.clone());
    }
    let mut gateway = Gateway::bind(options.gateway_options(Some(&data))?).await?;
    let command = options.worker_command(gateway.internal_address(), &data)?;
    let autoscaler_options = options.autoscaler_options(&command, Some(&data))?;
    let workers = (autoscaler_options.min_instances, autoscaler_options.max_instances());
    let autoscaler = Autoscaler::bind(autoscaler_options).await?;
    gateway.report_to(&autoscaler.url())?;
    let addresses = Addresses {
        public: gateway.public_address(),
        internal: gateway.internal_address(),
        autoscaler: autoscaler.address(),
    };
    let own = options.own(&addresses)?;
    options.print_head(&addresses, &data, workers);
    if let Some(made) = &certificate {
        head::print_certificate(made);
    }
    if let Some(file) = &options.addresses_file {
        write_addresses(file, &addresses)?;
    }
    tokio::select! {
        prepared = options.prepare(&data) => prepared?,
        () = shutdown.stop.cancelled() => return Ok(0),
    }
    let waiting = gateway.waiting();
    let services = serve(gateway, autoscaler, &shutdown, options.grace);
    tokio::pin!(services);
    let shown = async {
        // A certificate of somebody else's is not for the address we would send them to.
        if !options.no_samples && (options.tls || options.access.tls.tls_cert.is_none()) {
            tokio::select! {
                shown = show_samples(&own) => {
                    if let Err(error) = shown {
                        say(format_args!("the photographs could not be classified: {}", error.sentence));
                    }
                }
                // They are not worth waiting for.
                () = shutdown.stop.cancelled() => {}
            }
        }
        say(format_args!("\nTry your own:  dunlin classify ~/Pictures/*.jpg     Stop: Ctrl-C"));
        shutdown.stop.cancelled().await;
        say(format_args!("\nstopping: {} in flight …", waiting()));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = &mut services => served?,
        () = shown => {}
    }
    say(format_args!("done"));
    Ok(0)
}

/// Both services. At the stop the gateway finishes first: it needs the workers for what is in flight.
async fn serve(gateway: Gateway, autoscaler: Autoscaler, shutdown: &Shutdown, grace: Duration) -> Result<()> {
    let for_autoscaler = Shutdown::new();
    let callers = async {
        let ended = shutdown.run(grace, gateway.run(shutdown)).await;
        for_autoscaler.stop.cancel();
        ended
    };
    let fleet = async {
        let ended = for_autoscaler.run(grace, Box::pin(autoscaler.run(&for_autoscaler))).await;
        if !for_autoscaler.stop.is_cancelled() {
            return Err(ended.err().unwrap_or_else(|| Error::internal("the autoscaler ended by itself")));
        }
        ended
    };
    tokio::try_join!(callers, fleet).map(drop)
}

/// The one of both services, each with keys of its own.
fn store_url(data: &Path) -> String {
    format!("file://{}", data.join("store").display())
}

/// Prints a line. A reader that went away (`dunlin up | head`) does not stop the services.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn write_addresses(file: &Path, addresses: &Addresses) -> Result<()> {
    let json =
        serde_json::to_vec(addresses).map_err(|error| Error::internal(error).context("write addresses"))?;
    let aside = file.with_extension("tmp");
    std::fs::write(&aside, json)
        .and_then(|()| std::fs::rename(&aside, file))
        .map_err(|error| Error::internal(error).context("write addresses"))
}

async fn show_samples(own: &Own) -> Result<(), Failure> {
    say(format_args!("\nclassifying {} photographs …", samples::SAMPLES.len()));
    let summary = samples::classify(&own.gateway).await?;
    let all = samples::SAMPLES.len();
    say(format_args!(
        "{} of {all} in {:.1} s{}",
        summary.succeeded,
        summary.took.as_secs_f64(),
        what_it_took(&own.autoscaler).await
    ));
    Ok(())
}

/// What the autoscaler did for them, in its own words.
async fn what_it_took(autoscaler: &AutoscalerOptions) -> String {
    let said = async {
        let mut client = decisions::autoscaler(autoscaler.connect().await.ok()?);
        let request =
            ListDecisionsRequest { page_size: 1000, changed_only: true, ..ListDecisionsRequest::default() };
        let decisions = client.list_decisions(request).await.ok()?.into_inner().decisions;
        let largest = decisions
            .into_iter()
            .filter(|decision| decision.want > decision.current)
            .max_by_key(|one| one.want)?;
        Some(format!(
            "; the autoscaler went {} → {} workers ({})",
            largest.current,
            largest.want,
            largest.reason.trim_end_matches('.')
        ))
    };
    said.await.unwrap_or_default()
}

impl Options {
    fn gateway_options(&self, data: Option<&Path>) -> Result<gateway::Options> {
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

    fn autoscaler_options(&self, command: &[OsString], data: Option<&Path>) -> Result<autoscaler::Options> {
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

    fn own(&self, addresses: &Addresses) -> Result<Own, Failure> {
        let ca = self.tls.then(|| self.access.tls.tls_cert.clone()).flatten();
        let access = KeyOptions { key: self.access.own_key.clone(), ca, ..KeyOptions::default() };
        let scheme = if self.tls { "https" } else { "http" };
        let address = |address| Address::of(scheme, address);
        let gateway = GatewayOptions { server: address(addresses.public)?, access: access.clone() };
        let at = AutoscalerAddress { autoscaler: address(addresses.autoscaler)? };
        Ok(Own { gateway, autoscaler: AutoscalerOptions { at, access } })
    }

    /// This program again, as a worker.
    fn worker_command(&self, gateway: SocketAddr, data: &Path) -> Result<Vec<OsString>> {
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

    /// Puts the model and the engine in place, the first time.
    async fn prepare(&self, data: &Path) -> Result<()> {
        let model: ModelUrl =
            self.model.parse().map_err(|error: String| Error::new(platform::Kind::Config, error))?;
        if model == ModelUrl::Bundled {
            bundled::unpack(data)?;
        }
        if model.needs_engine() && self.onnxruntime.is_none() {
            engine::install(data, |progress| {
                if let engine::Progress::Downloading { version, bytes } = progress {
                    say(format_args!("\ngetting ONNX Runtime {version} ({} MB, once) …", bytes / 1_000_000));
                }
            })
            .await?;
        }
        Ok(())
    }
}
