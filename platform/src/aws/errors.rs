//! The SDK's errors as ours. What a caller acts on is only whether the service is away, whether a
//! permission is missing, or which code it answered.

use std::{error::Error as StdError, time::Duration};

use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

use crate::{Error, Kind};

/// When to try again what failed because the service was away: the SDK has backed off a few times by then.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) const QUEUE_AWAY: &str = "the queue can't be used at the moment";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Throttled, a fault on its side, no answer, or no connection.
    Away,
    /// The permission is missing.
    Denied,
    /// There are no credentials, or they are not valid (any more).
    Credentials,
    /// It understood and refused; the code says what.
    Refused,
}

/// An SDK error without its type parameters.
#[derive(Debug, Clone)]
pub struct Failure {
    pub cause: Cause,
    /// As the service wrote it; empty without one.
    pub code: String,
    /// HTTP status of the answer; 0 without one.
    pub status: u16,
    /// The whole chain, for logs.
    text: String,
}

/// What was being done, for the sentence that refuses a start.
#[derive(Debug, Clone, Copy)]
pub struct Doing<'a> {
    /// For a person: `store s3://bucket/prefix`.
    pub what: &'a str,
    /// The IAM action: `s3:ListBucket`.
    pub action: &'a str,
    /// The ARN it is needed on.
    pub resource: &'a str,
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or("").to_owned();
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let text = DisplayErrorContext(&error).to_string();
        let cause = match &error {
            SdkError::ServiceError(_) => refused(&code, status),
            // The request was never built: only credentials or our own values can be wrong.
            SdkError::ConstructionFailure(_) if no_credentials(&text) => Cause::Credentials,
            SdkError::ConstructionFailure(_) => Cause::Refused,
            SdkError::DispatchFailure(_) if no_credentials(&text) => Cause::Credentials,
            _ => Cause::Away,
        };
        Self { cause, code, status, text }
    }
}

fn refused(code: &str, status: u16) -> Cause {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "KmsAccessDenied"
        | "KMS.AccessDeniedException" => Cause::Denied,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "SignatureDoesNotMatch"
        | "AuthFailure"
        | "InvalidToken" => Cause::Credentials,
        _ if is_throttling(code) || status >= 500 || status == 429 => Cause::Away,
        // S3 answers HEAD without a body, so without a code.
        "" if status == 403 => Cause::Denied,
        _ => Cause::Refused,
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown"
            | "OverLimit"
            | "KmsThrottled"
            | "KMS.ThrottlingException"
            | "RequestTimeout"
            | "PriorRequestNotComplete"
            | "ServiceUnavailable"
            | "InternalError"
    )
}

/// The error types of missing credentials are not public; their sentences are the only mark.
fn no_credentials(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("credential") || text.contains("identity") || text.contains("auth scheme")
}

impl Failure {
    /// For a call of a running service: `away` while another try may help, and also when a permission was
    /// taken away or a resource deleted under us, because only an operator can tell that from an outage.
    #[must_use]
    pub fn running(self, away: Kind) -> Error {
        let message = match away {
            Kind::QueueUnavailable => QUEUE_AWAY,
            _ => "a service this one depends on can't be used at the moment",
        };
        Error::new(away, message).with_source(self.text).with_retry_after(RETRY_AFTER)
    }

    /// For a check at start: one sentence that names the resource, the action and the fix.
    #[must_use]
    pub fn starting(self, doing: Doing<'_>) -> Error {
        let Doing { what, action, resource } = doing;
        let sentence = match self.cause {
            Cause::Denied => {
                format!("{what}: permission denied; allow {action} on {resource} in this service's policy")
            }
            Cause::Credentials => format!(
                "{what}: no valid AWS credentials for {action} on {resource}; \
                 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the instance a role"
            ),
            Cause::Away => format!(
                "{what}: no answer to {action} on {resource}; check the network, AWS_REGION and AWS_ENDPOINT_URL"
            ),
            Cause::Refused => format!("{what}: {action} on {resource} was refused with {}", self.reason()),
        };
        Error::new(Kind::Config, sentence).with_source(self.text)
    }

    fn reason(&self) -> String {
        if self.code.is_empty() { format!("status {}", self.status) } else { self.code.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_can_be_done_about_them() {
        let rows = [
            ("AccessDenied", 403, Cause::Denied),
            ("", 403, Cause::Denied),
            ("ExpiredToken", 400, Cause::Credentials),
            ("RequestThrottled", 400, Cause::Away),
            ("SlowDown", 503, Cause::Away),
            ("Anything", 500, Cause::Away),
            ("", 404, Cause::Refused),
            ("QueueDoesNotExist", 400, Cause::Refused),
        ];
        for (code, status, cause) in rows {
            assert_eq!(refused(code, status), cause, "{code} {status}");
        }
    }

    #[test]
    fn refused_start_names_resource_action_and_fix() {
        let failure = |cause| Failure { cause, code: String::new(), status: 403, text: String::new() };
        let doing = Doing { what: "store s3://box", action: "s3:ListBucket", resource: "arn:aws:s3:::box" };
        for cause in [Cause::Denied, Cause::Credentials, Cause::Away, Cause::Refused] {
            let error = failure(cause).starting(doing);
            assert_eq!(error.kind(), Kind::Config);
            for part in ["s3://box", "s3:ListBucket", "arn:aws:s3:::box"] {
                assert!(error.message().contains(part), "{error}");
            }
        }
    }
}
