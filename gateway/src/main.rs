//! The gateway by itself.

use std::process::ExitCode;

use clap::Parser;
use platform::{
    options::{Check, FileOptions, Problems, load},
    program::{ServiceOptions, end},
};

/// Takes images over gRPC, gRPC-web and HTTP, queues them, and answers their callers
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
struct Arguments {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    options: ServiceOptions<gateway::Options>,
}

impl Check for Arguments {
    fn check(&self, problems: &mut Problems) {
        self.options.check(problems);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = load("gateway");
    end(gateway::run(arguments.options).await)
}
