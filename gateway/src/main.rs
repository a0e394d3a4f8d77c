//! The gateway by itself.

use std::process::ExitCode;

use clap::Parser;
use gateway::{Gateway, Options};
use platform::{
    options::{Check, FileOptions, Problems, exit, load},
    shutdown::Shutdown,
    telemetry::LogOptions,
};

/// Takes images over gRPC, gRPC-web and HTTP, queues them, and answers their callers
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
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

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = load("gateway");
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
    let grace = arguments.options.grace;
    tracing::info!(options = ?arguments.options, "starting");
    let gateway = Gateway::bind(arguments.options).await?;
    tracing::info!(public = %gateway.public_address(), internal = %gateway.internal_address(), "listening");
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    shutdown.run(grace, gateway.run(&shutdown)).await
}
