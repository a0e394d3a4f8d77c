//! The autoscaler by itself.

use std::process::ExitCode;

use clap::Parser;
use platform::{
    options::{Check, FileOptions, Problems, load},
    program::{ServiceOptions, end},
};

/// Starts and stops workers with the load, and says why
#[derive(Debug, Parser)]
#[command(name = "autoscaler", version)]
struct Arguments {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    options: ServiceOptions<autoscaler::Options>,
}

impl Check for Arguments {
    fn check(&self, problems: &mut Problems) {
        self.options.check(problems);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = load("autoscaler");
    end(autoscaler::run(arguments.options).await)
}
