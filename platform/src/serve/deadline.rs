//! The caller's deadline: told to handlers, and enforced for calls with one answer.

use std::time::Duration;

use axum::{extract::Request, middleware::Next, response::Response};
use tokio::time::Instant;

use crate::{Error, Kind};

/// When the caller stops waiting, in a request's extensions. Absent when the caller set none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// We answer this much before the caller's own timer ends, so that the caller hears from us and
/// tonic's server does not answer CANCELLED in our place; a twentieth of a short timeout.
const MARGIN: Duration = Duration::from_millis(5);

/// A handler that keeps the deadline itself has a better reason to give: let it speak first.
const HANDLER_FIRST: Duration = Duration::from_millis(2);

/// Answers DEADLINE_EXCEEDED when a call's headers are not there by its deadline. The body of a
/// stream is its handler's to end.
pub(super) async fn enforce(mut request: Request, next: Next) -> Response {
    let timeout = request.headers().get("grpc-timeout").map(|value| value.to_str().ok().and_then(parse));
    let timeout = match timeout {
        None => return next.run(request).await,
        Some(Some(timeout)) => timeout,
        Some(None) => {
            let error =
                Error::invalid("grpc-timeout", "not a timeout: up to 8 digits and one of H M S m u n");
            return tonic::Status::from(error).into_http();
        }
    };
    let deadline = Instant::now() + (timeout - MARGIN.min(timeout / 20));
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline + HANDLER_FIRST.min(timeout / 50), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let error =
                Error::new(Kind::DeadlineExceeded, format!("no answer within the caller's {timeout:?}"));
            tonic::Status::from(error).into_http()
        }
    }
}

/// The value of `grpc-timeout` (gRPC over HTTP/2, "Timeout"): at most 8 digits and a unit.
fn parse(value: &str) -> Option<Duration> {
    const DIGITS_MAX: usize = 8;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        let check = |value: &str, want: Option<Duration>| assert_eq!(parse(value), want, "{value:?}");
        check("100m", Some(Duration::from_millis(100)));
        check("2S", Some(Duration::from_secs(2)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("7u", Some(Duration::from_micros(7)));
        check("7n", Some(Duration::from_nanos(7)));
        check("1M", Some(Duration::from_secs(60)));
        for bad in ["", "m", "10", "-1S", "+1S", "123456789S", "1x", "1 S", "é"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn any_header_is_a_timeout_that_clocks_can_take_or_none(value in r"\PC{0,12}|[0-9]{0,10}[HMSmunx]?") {
            if let Some(timeout) = parse(&value) {
                prop_assert!(timeout <= Duration::from_secs(99_999_999 * 3600));
                prop_assert!(Instant::now().checked_add(timeout).is_some());
                prop_assert!((2..=9).contains(&value.len()));
            }
        }
    }
}
