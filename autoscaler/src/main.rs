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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tag existing instances as part of a fleet, so that it starts and stops them from now on
    Adopt {
        /// As for the autoscaler, such as ec2:TEMPLATE?fleet=NAME
        #[arg(long = "fleet", id = "adopt_fleet", value_name = "URL")]
        fleet: String,
        /// Ids of the instances
        #[arg(required = true, value_name = "INSTANCE")]
        instances: Vec<String>,
    },
}

impl Check for Arguments {
    fn check(&self, problems: &mut Problems) {
        // The service's options are not used beside a command.
        if self.command.is_none() {
            self.options.check(problems);
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = load("autoscaler");
    match arguments.command {
        None => end(autoscaler::run(arguments.options).await),
        Some(Command::Adopt { fleet, instances }) => {
            let adopted = autoscaler::adopt(&fleet, &instances).await;
            if adopted.is_ok() {
                println!("{} instances are part of {fleet}", instances.len());
            }
            end(adopted)
        }
    }
}
