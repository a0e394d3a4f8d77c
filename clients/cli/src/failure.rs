//! How a command ends: an exit code, and for a failure the sentence a person reads.

use std::{error::Error as StdError, io, time::Duration};

use platform::{
    Error, Kind,
    options::{exit, show_duration},
    shutdown::EXIT_INTERRUPTED,
};

/// What a command gives back: its exit code, or why it stopped.
pub(crate) type Outcome = Result<u8, Failure>;

/// 130, for Ctrl-C.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 130")]
pub(crate) const INTERRUPTED: u8 = EXIT_INTERRUPTED as u8;

/// Why a command stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit_code: u8,
    /// Empty when there is nothing to say: the reader of our output went away.
    pub(crate) sentence: String,
}

impl Failure {
    pub(crate) fn new(exit_code: u8, sentence: impl Into<String>) -> Self {
        Self { exit_code, sentence: sentence.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let again = error.retry_after().map_or_else(String::new, |after| format!("; {}", try_again(after)));
        Self::new(exit_code(error.kind()), format!("{error}{again}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `dunlin ... | head` has what it wants.
            io::ErrorKind::BrokenPipe => Self::new(0, ""),
            _ => Self::new(exit::FAILED, format!("write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::from(io::Error::from(error))
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::from(error),
            other => Self::new(exit::FAILED, format!("write the output: {other:?}")),
        }
    }
}

/// How a service by itself ended: with the same codes as its own program.
pub(crate) fn of_service(done: platform::Result<()>) -> Outcome {
    done.map(|()| 0).map_err(of_error)
}

/// How a service failed.
#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn of_error(error: platform::Error) -> Failure {
    Failure::new(platform::program::exit_code(&error), error.to_string())
}

/// The exit code for an error's kind.
pub(crate) fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Config => exit::CONFIG,
        Kind::ServiceUnavailable => exit::UNAVAILABLE,
        kind if kind.is_retryable() => exit::TRY_AGAIN,
        _ => exit::FAILED,
    }
}

/// "try again in 1.5s".
pub(crate) fn try_again(after: Duration) -> String {
    const STEP_MILLIS: u64 = 100;
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).next_multiple_of(STEP_MILLIS);
    format!("try again in {}", show_duration(Duration::from_millis(millis)))
}

/// An error with its causes, outermost first, each said once.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_tells_apart_what_a_script_acts_on() {
        let check = |kind: Kind, want: u8| assert_eq!(exit_code(kind), want, "{kind:?}");
        check(Kind::Config, 78);
        check(Kind::ServiceUnavailable, 69);
        check(Kind::QueueFull, 75);
        check(Kind::WaitExceedsDeadline, 75);
        check(Kind::Draining, 75);
        check(Kind::ImageEmpty, 1);
        check(Kind::Internal, 1);
        check(Kind::DeadlineExceeded, 1);
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let error = Error::new(Kind::QueueFull, "the queue holds 1000 images")
            .with_retry_after(Duration::from_micros(1_430_001));
        let failure = Failure::from(error);
        assert_eq!(failure.exit_code, 75);
        assert_eq!(failure.sentence, "the queue holds 1000 images; try again in 1s 500ms");
    }

    #[test]
    fn broken_pipe_is_a_quiet_end() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::new(0, ""));
    }
}
