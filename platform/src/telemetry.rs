//! Logs: to standard error, pretty on a terminal, JSON otherwise.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::{Error, Kind, Result};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// What to log: a level, or `target=level` parts with commas (as in RUST_LOG, which also works)
    #[arg(
        long = "log",
        env = "DUNLIN_LOG",
        default_value = "info",
        value_name = "FILTER",
        help_heading = "Logs"
    )]
    pub filter: String,
    /// How log lines look
    #[arg(long, env = "DUNLIN_LOG_FORMAT", default_value = "auto", value_enum, help_heading = "Logs")]
    pub log_format: LogFormat,
}

impl LogOptions {
    /// Starts logging for the whole process. A second call is an error.
    pub fn start(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.filter)
            .map_err(|error| Error::new(Kind::Config, format!("--log {:?}: {error}", self.filter)))?;
        let json = match self.log_format {
            LogFormat::Auto => !stderr().is_terminal(),
            LogFormat::Pretty => false,
            LogFormat::Json => true,
        };
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
        let started = if json {
            builder.json().flatten_event(true).try_init()
        } else {
            builder.with_ansi(stderr().is_terminal()).with_target(false).try_init()
        };
        started.map_err(|error| Error::new(Kind::Internal, "").with_source(error).context("start logging"))
    }
}
