//! The worker as a program of its own.

use std::process::ExitCode;

use classifier_worker::{Options, Worker};
use platform::{
    Result,
    options::{Check, FileOptions, Problems},
    shutdown::Shutdown,
    telemetry::LogOptions,
};

/// Pulls images from the queue, classifies them, and replies to the gateway that waits
#[derive(Debug, clap::Parser)]
#[command(name = "classifier-worker", version)]
struct Command {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    options: Options,
}

impl Check for Command {
    fn check(&self, problems: &mut Problems) {
        self.options.check(problems);
    }
}

fn main() -> ExitCode {
    let command = platform::options::load::<Command>("worker");
    let done = command.log.start().and_then(|()| {
        // The classifying threads are not the runtime's: it only moves messages.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| platform::Error::internal(error).context("start runtime"))?;
        let done = runtime.block_on(run(command.options));
        // A model that hangs must not hold up the end.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(match error.kind() {
                platform::Kind::Config => platform::options::exit::CONFIG,
                _ => platform::options::exit::FAILED,
            })
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let grace = options.grace;
    let worker = tokio::select! {
        worker = Worker::new(options) => worker?,
        () = shutdown.stop.cancelled() => return Ok(()),
    };
    shutdown.run(grace, worker.run(&shutdown)).await
}
