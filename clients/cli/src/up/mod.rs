//! `dunlin up`: gateway and autoscaler in this process, workers as its children, a few photographs
//! classified, and the addresses printed. No cloud account.

use std::{
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use autoscaler::Autoscaler;
use classifier_worker::{bundled, engine, model::ModelUrl};
use gateway::Gateway;
use platform::{Error, Result, auth::Keys, shutdown::Shutdown};
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
mod options;
mod samples;

pub(crate) use options::Options;

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
    fn own(&self, addresses: &Addresses) -> Result<Own, Failure> {
        let ca = self.tls.then(|| self.access.tls.tls_cert.clone()).flatten();
        let access = KeyOptions { key: self.access.own_key.clone(), ca, ..KeyOptions::default() };
        let scheme = if self.tls { "https" } else { "http" };
        let address = |address| Address::of(scheme, address);
        let gateway = GatewayOptions { server: address(addresses.public)?, access: access.clone() };
        let at = AutoscalerAddress { autoscaler: address(addresses.autoscaler)? };
        Ok(Own { gateway, autoscaler: AutoscalerOptions { at, access } })
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
