//! Options from flags and a TOML file: who wins, and how mistakes are shown. (The environment's
//! place is tested from outside, on the real binaries.)
#![allow(clippy::unwrap_used)]

use std::{ffi::OsString, io::Write as _, time::Duration};

use clap::Parser;
use platform::options::{Check, Failure, FileOptions, Problems, parse_duration, try_load};

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    file: FileOptions,
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: std::net::SocketAddr,
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    grace: Duration,
    #[arg(long, default_value_t = 1)]
    min_workers: u32,
    #[arg(long, default_value_t = 4)]
    max_workers: u32,
    #[arg(long)]
    key: Vec<String>,
    #[arg(long)]
    dev: bool,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if self.min_workers > self.max_workers {
            problems
                .add("--min-workers", format_args!("must be at most --max-workers ({})", self.max_workers));
        }
    }
}

fn load(toml: &str, flags: &[&str]) -> Result<Options, Failure> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let config = ["gateway", "--config", file.path().to_str().unwrap()];
    let arguments = config.iter().chain(flags).map(OsString::from).collect();
    try_load("gateway", arguments)
}

#[test]
fn flag_wins_over_file_and_file_over_default() {
    let toml = "max-workers = 9\nmin_workers = 2\n[gateway]\ngrace = \"5s\"\nkey = [\"a\", \"b\"]\ndev = true\n[worker]\nx = 1\n";
    let options = load(toml, &["--max-workers", "7"]).unwrap();
    assert_eq!(options.max_workers, 7);
    assert_eq!(options.min_workers, 2);
    assert_eq!(options.grace, Duration::from_secs(5));
    assert_eq!(options.key, ["a", "b"]);
    assert!(options.dev);
    assert_eq!(options.listen.port(), 8000);
    assert!(options.file.config.is_some());
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let toml = "grace = \"soon\"\nmin_workers = 5\nlisen = \"x\"\n[gatewy]\n";
    let failure = load(toml, &["--listen", "nowhere", "--max-workers=many"]).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    for part in [
        "unknown key \"lisen\"",
        ":3: ",
        "unknown table [gatewy]",
        "'soon' for '--grace",
        "configuration file",
        "'nowhere' for '--listen",
        "'many' for '--max-workers",
        "--min-workers: must be at most --max-workers (4)",
    ] {
        assert!(failure.text.contains(part), "{part:?} is missing in:\n{}", failure.text);
    }
}

#[test]
fn wrong_flags_alone_are_wrong_usage() {
    let failure = load("", &["--lisen", "127.0.0.1:1", "--grace", "soon"]).unwrap_err();
    assert_eq!(failure.exit_code, 2, "{}", failure.text);
    assert!(failure.text.contains("--lisen") && failure.text.contains("'--listen'"), "{}", failure.text);
    assert!(failure.text.contains("'soon'"), "{}", failure.text);
}

#[test]
fn broken_or_missing_file_is_named() {
    let failure = load("listen = \n", &[]).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    assert!(failure.text.contains("line 1"), "{}", failure.text);
    let arguments = ["gateway", "--config=/nowhere/dunlin.toml"].map(OsString::from).to_vec();
    let failure = try_load::<Options>("gateway", arguments).unwrap_err();
    assert!(failure.text.contains("/nowhere/dunlin.toml"), "{}", failure.text);
}

#[test]
fn two_wrong_values_in_the_file_are_both_told() {
    let failure = load("max_workers = \"many\"\nmin_workers = \"few\"\n", &[]).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    assert!(failure.text.contains("'many'") && failure.text.contains("'few'"), "{}", failure.text);
}

#[derive(Debug, Parser)]
struct WithCommands {
    #[command(flatten)]
    file: FileOptions,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, clap::Subcommand)]
enum Commands {
    Classify {
        #[arg(long, default_value_t = 1)]
        top_k: u32,
        #[arg(long, default_value = "30s", value_parser = parse_duration)]
        timeout: Duration,
        #[arg(long, default_value_t = 1)]
        other: u32,
    },
}

impl Check for WithCommands {
    fn check(&self, _: &mut Problems) {}
}

#[test]
fn two_wrong_values_of_a_command_in_the_file_are_both_told() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[classify]\ntop_k = \"many\"\ntimeout = \"soon\"\n").unwrap();
    let arguments = ["dunlin", "classify", "--config", file.path().to_str().unwrap(), "--other", "x"];
    let failure = try_load::<WithCommands>("dunlin", arguments.map(OsString::from).to_vec()).unwrap_err();
    assert_eq!(failure.exit_code, 78);
    for part in ["'many'", "'soon'", "'x'"] {
        assert!(failure.text.contains(part), "{part} is missing in {}", failure.text);
    }
}
