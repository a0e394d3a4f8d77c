//! The worker as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use platform::{
    options::{Check, FileOptions, Problems, load},
    program::{ServiceOptions, end},
};

/// Pulls images from the queue, classifies them, and replies to the gateway that waits
#[derive(Debug, Parser)]
#[command(name = "classifier-worker", version)]
struct Arguments {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    options: ServiceOptions<classifier_worker::Options>,
}

impl Check for Arguments {
    fn check(&self, problems: &mut Problems) {
        self.options.check(problems);
    }
}

fn main() -> ExitCode {
    let arguments: Arguments = load("worker");
    // The classifying threads are not the runtime's: it only moves messages.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(platform::Error::internal(error).context("start runtime"))),
    };
    let done = runtime.block_on(classifier_worker::run(arguments.options));
    // A model that hangs must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(ended) => ExitCode::from(ended.exit_code()),
        Err(error) => end(Err(error)),
    }
}
