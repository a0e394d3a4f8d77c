//! The autoscaler by itself.

use std::{process::ExitCode, time::Duration};

use autoscaler::{Autoscaler, Options};
use clap::Parser;
use platform::{
    options::{Check, FileOptions, Problems, exit, load},
    shutdown::Shutdown,
    telemetry::LogOptions,
};

/// Starts and stops workers with the load, and says why
#[derive(Debug, Parser)]
#[command(name = "autoscaler", version)]
struct Arguments {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    options: Options,
}

impl Check for Arguments {
    fn check(&self, problems: &mut Problems) {
        self.options.check(problems);
    }
}

/// Beside what the workers may take: for their processes to end, and ours.
const AFTER_GRACE: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = load("autoscaler");
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let code = if error.kind() == platform::Kind::Config { exit::CONFIG } else { exit::FAILED };
            ExitCode::from(code)
        }
    }
}

async fn run(arguments: Arguments) -> platform::Result<()> {
    arguments.log.start()?;
    let grace = arguments.options.grace + AFTER_GRACE;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let autoscaler = Autoscaler::bind(arguments.options).await?;
    tracing::info!(address = %autoscaler.address(), "autoscaler listens");
    shutdown.run(grace, autoscaler.run(&shutdown)).await
}
