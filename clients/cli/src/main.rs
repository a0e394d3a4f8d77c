//! `dunlin`: the whole system on one machine, and its client.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use command::{Cli, Command};
use failure::{Failure, Outcome};
use platform::options::{exit, try_load};

mod bench;
mod classify;
mod command;
mod completions;
mod connect;
mod decisions;
mod explain;
mod failure;
mod fleet;
mod follow;
mod instances;
mod job;
mod key;
mod orders;
mod output;
mod record;
mod simulate;
mod status;
mod stream;
mod times;
mod up;

fn main() -> ExitCode {
    let arguments = command::with_default_command(std::env::args_os().collect());
    let cli: Cli = match try_load("dunlin", arguments) {
        Ok(cli) => cli,
        Err(failure) => return end(Err(Failure::new(failure.exit_code, failure.text))),
    };
    end(run(cli))
}

fn run(cli: Cli) -> Outcome {
    if let Command::Completions(options) = &cli.command {
        return completions::run(options);
    }
    if let Command::Key(options) = &cli.command {
        return key::run(options);
    }
    if let Command::Simulate(options) = &cli.command {
        // All cores are its own, and nothing waits for a network.
        return simulate::run(options, cli.colours);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(exit::FAILED, format!("start the runtime: {error}")))?;
    let colours = cli.colours;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Up(options) => up::run(*options).await,
            Command::Gateway(options) => failure::of_service(gateway::run(*options).await),
            Command::Worker(options) => classifier_worker::run(*options)
                .await
                .map(classifier_worker::Ended::exit_code)
                .map_err(failure::of_error),
            Command::Autoscaler(options) => failure::of_service(autoscaler::run(*options).await),
            Command::Classify(options) => classify::run(options, colours).await,
            Command::Job(options) => job::run(options, colours).await,
            Command::Status(options) => status::run(options, colours).await,
            Command::Decisions(options) => decisions::run(options, colours).await,
            Command::Explain(options) => explain::run(options, colours).await,
            Command::Fleet(options) => fleet::run(options, colours).await,
            Command::Bench(options) => bench::run(options, colours).await,
            Command::Simulate(options) => simulate::run(&options, colours),
            Command::Completions(options) => completions::run(&options),
            Command::Key(options) => key::run(&options),
        }
    });
    // A read of standard input can't be interrupted; don't wait for it.
    runtime.shutdown_background();
    outcome
}

/// Says what went wrong, if there is someone to hear it.
fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.sentence.is_empty() {
                // Standard error may be closed too, and then there is nobody to tell.
                let sentence = failure.sentence.trim_end();
                let prefix = if sentence.starts_with("error: ") { "" } else { "error: " };
                let _ = writeln!(io::stderr(), "{prefix}{sentence}");
            }
            ExitCode::from(failure.exit_code)
        }
    }
}
