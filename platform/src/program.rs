//! What the programs of the services share: the arguments beside their own, and how they end.

use std::process::ExitCode;

use crate::{
    Error, Kind, Result,
    options::{Check, Problems, exit},
    telemetry::LogOptions,
};

/// A service's own options, and how it logs.
#[derive(Debug, clap::Args)]
// The service's own options have the group of that name.
#[group(skip)]
pub struct ServiceOptions<T: clap::Args> {
    #[command(flatten)]
    pub log: LogOptions,
    #[command(flatten)]
    pub service: T,
}

impl<T: clap::Args + Check> Check for ServiceOptions<T> {
    fn check(&self, problems: &mut Problems) {
        self.service.check(problems);
    }
}

/// Tells systemd that the service is ready: units of `Type=notify` wait for it. Nothing happens anywhere else.
pub fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "tell systemd that the service is ready");
    }
}

/// The exit code for what ended a service.
pub fn exit_code(error: &Error) -> u8 {
    if error.kind() == Kind::Config { exit::CONFIG } else { exit::FAILED }
}

/// Says what went wrong, and gives the exit code.
pub fn end(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}
