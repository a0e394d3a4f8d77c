//! The command line: what `dunlin` can do, and `up` when nothing is said.

use std::ffi::OsString;

use clap::Parser;
use platform::{
    options::{Check, FileOptions, Problems},
    program::ServiceOptions,
};

use crate::{
    bench, classify, completions, decisions, explain, fleet, job, key, output::ColourOptions, simulate,
    status, up,
};

const EXAMPLES: &str = "\
Examples:
  dunlin                                    start everything on this machine ('up' may be left out)
  dunlin classify ~/Pictures/*.jpg          what the pictures show
  dunlin classify -o jsonl *.jpg | jq .     the same for programs
  dunlin job submit --wait *.jpg            many pictures, whatever is restarted meanwhile
  dunlin status --watch                     the fleet, as it changes
  dunlin decisions --changed-only           why it changed
  dunlin explain                            the latest decision, and what would have changed it
  dunlin fleet pause --in --for 30m         stop nothing for half an hour
  dunlin key create --name ci --scope classify  a key for a caller, where callers need one
  dunlin bench --rate 50 --duration 30s     latency at 50 images a second
  dunlin simulate burst                     what a policy would do, and what others' would

Exit codes: 0 done, 1 something failed, 2 wrong usage, 69 server not reachable, 75 overloaded (try again),
78 wrong configuration, 130 Ctrl-C.";

/// Classifies images on a fleet that comes and goes with the load.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, after_help = EXAMPLES, propagate_version = false, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    file: FileOptions,
    #[command(flatten)]
    pub(crate) colours: ColourOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: gateway, autoscaler, workers (what `dunlin` alone does)
    Up(Box<up::Options>),
    /// Classify pictures: files in, what they show out
    Classify(classify::Options),
    /// Submit pictures to be classified later, and watch, fetch or cancel them
    Job(job::Options),
    /// Show the fleet, the queue and the latest decision
    Status(status::Options),
    /// Show what the autoscaler decided and why
    Decisions(decisions::Options),
    /// Explain one decision, and what would have changed it
    Explain(explain::Options),
    /// List the instances, pause scaling, change the policy, drain one
    Fleet(fleet::Options),
    /// Measure a gateway: latency and images a second under a load
    Bench(bench::Options),
    /// Try policies beforehand: what they cost and how fast they answer on simulated loads
    Simulate(Box<simulate::Options>),
    /// Make, list and end the keys that callers bring
    Key(key::Options),
    /// Run a gateway by itself
    Gateway(Box<ServiceOptions<gateway::Options>>),
    /// Run a worker by itself
    Worker(Box<ServiceOptions<classifier_worker::Options>>),
    /// Run an autoscaler by itself
    Autoscaler(Box<ServiceOptions<autoscaler::Options>>),
    /// Print the completions of a shell: dunlin completions bash > ~/.local/share/bash-completion/completions/dunlin
    Completions(completions::Options),
}

impl Check for Cli {
    fn check(&self, problems: &mut Problems) {
        match &self.command {
            Command::Up(options) => options.check(problems),
            Command::Gateway(options) => options.check(problems),
            Command::Worker(options) => options.check(problems),
            Command::Autoscaler(options) => options.check(problems),
            Command::Classify(options) => options.check(problems),
            Command::Job(options) => options.check(problems),
            Command::Status(_) | Command::Explain(_) | Command::Completions(_) => {}
            Command::Fleet(options) => options.check(problems),
            Command::Key(options) => options.check(problems),
            Command::Decisions(options) => options.check(problems),
            Command::Bench(options) => options.check(problems),
            Command::Simulate(options) => options.check(problems),
        }
    }
}

/// Puts `up` where a command is missing: `dunlin`, `dunlin --listen ...`.
pub(crate) fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    let command = loop {
        let text = arguments.get(at).map(|argument| argument.to_string_lossy());
        match text.as_deref() {
            Some("--config") => at += 2,
            Some("--no-color") => at += 1,
            Some(text) if text.starts_with("--config=") => at += 1,
            other => break other.map(str::to_owned),
        }
    };
    let for_everything = |text: &str| matches!(text, "-h" | "--help" | "-V" | "--version");
    let missing = command.is_none_or(|text| text.starts_with('-') && !for_everything(&text));
    if missing {
        arguments.insert(at.min(arguments.len()), "up".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn up_is_what_runs_when_nothing_is_said() {
        let check = |given: &str, want: &str| {
            let arguments = given.split_whitespace().map(OsString::from).collect();
            let got: Vec<String> =
                with_default_command(arguments).into_iter().map(|one| one.into_string().unwrap()).collect();
            assert_eq!(got.join(" "), want);
        };
        check("dunlin", "dunlin up");
        check("dunlin --listen 127.0.0.1:0", "dunlin up --listen 127.0.0.1:0");
        check("dunlin --config f.toml", "dunlin --config f.toml up");
        check("dunlin --config=f.toml --no-samples", "dunlin --config=f.toml up --no-samples");
        check("dunlin --config f.toml status", "dunlin --config f.toml status");
        check("dunlin --no-color status", "dunlin --no-color status");
        check("dunlin status --watch", "dunlin status --watch");
        check("dunlin --help", "dunlin --help");
        check("dunlin -V", "dunlin -V");
        check("dunlin clasify a.jpg", "dunlin clasify a.jpg");
        check("dunlin --config", "dunlin --config up");
    }
}
