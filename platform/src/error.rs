//! One error for all services. `Kind` alone decides the gRPC code, the HTTP code, the reason in
//! `ErrorInfo`, whether a retry can help, and the metric label.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

mod rpc;

pub use rpc::{ErrorBody, from_rpc_status, name_request, to_rpc_status};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A field is missing, out of range or contradicts another.
    InvalidRequest,
    ImageEmpty,
    ImageTooLarge,
    ImageTooManyPixels,
    /// Not an image, or a format we do not read.
    ImageUnsupportedFormat,
    /// Starts like an image and breaks off or is damaged.
    ImageUndecodable,
    UriSchemeUnsupported,
    UriNotAllowed,
    ModelNotFound,
    JobNotFound,
    ObjectNotFound,
    DecisionNotFound,
    /// What is kept of it is not enough: an older version wrote it.
    RecordIncomplete,
    InstanceNotFound,
    /// It is there, and what was asked cannot be done to it as it is.
    InstanceNotReady,
    ApiKeyInvalid,
    ScopeMissing,
    QueueFull,
    WaitExceedsDeadline,
    QuotaExceeded,
    /// The deadline passed before a worker started.
    ExpiredInQueue,
    /// The deadline passed while the call was running.
    DeadlineExceeded,
    /// The caller withdrew it.
    Cancelled,
    Draining,
    QueueUnavailable,
    /// Another service of ours does not answer.
    ServiceUnavailable,
    RequestIdReused,
    /// What exists already and may not be written again.
    AlreadyExists,
    /// The version named is not the one in force.
    VersionMismatch,
    Unimplemented,
    /// Every attempt at this image ended without an answer.
    MaxAttempts,
    /// The model failed on this image.
    InferenceFailed,
    /// An option is wrong; the process cannot start.
    Config,
    /// A fault of ours.
    Internal,
}

impl Kind {
    pub const ALL: [Self; 34] = [
        Self::InvalidRequest,
        Self::ImageEmpty,
        Self::ImageTooLarge,
        Self::ImageTooManyPixels,
        Self::ImageUnsupportedFormat,
        Self::ImageUndecodable,
        Self::UriSchemeUnsupported,
        Self::UriNotAllowed,
        Self::ModelNotFound,
        Self::JobNotFound,
        Self::ObjectNotFound,
        Self::DecisionNotFound,
        Self::RecordIncomplete,
        Self::InstanceNotFound,
        Self::InstanceNotReady,
        Self::ApiKeyInvalid,
        Self::ScopeMissing,
        Self::QueueFull,
        Self::WaitExceedsDeadline,
        Self::QuotaExceeded,
        Self::ExpiredInQueue,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Draining,
        Self::QueueUnavailable,
        Self::ServiceUnavailable,
        Self::RequestIdReused,
        Self::AlreadyExists,
        Self::VersionMismatch,
        Self::Unimplemented,
        Self::MaxAttempts,
        Self::InferenceFailed,
        Self::Config,
        Self::Internal,
    ];

    /// `reason` in `google.rpc.ErrorInfo`: stable, upper case, also the metric label.
    pub fn reason(self) -> &'static str {
        self.row().0
    }

    pub fn code(self) -> tonic::Code {
        self.row().1
    }

    /// The HTTP status that says the same.
    pub fn http(self) -> u16 {
        self.row().2
    }

    /// Whether the same call may work later without being changed.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::WaitExceedsDeadline
                | Self::QuotaExceeded
                | Self::Draining
                | Self::QueueUnavailable
                | Self::ServiceUnavailable
        )
    }

    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.reason() == reason)
    }

    fn row(self) -> (&'static str, tonic::Code, u16) {
        use tonic::Code;
        match self {
            Self::InvalidRequest => ("INVALID_REQUEST", Code::InvalidArgument, 400),
            Self::ImageEmpty => ("IMAGE_EMPTY", Code::InvalidArgument, 400),
            Self::ImageTooLarge => ("IMAGE_TOO_LARGE", Code::InvalidArgument, 413),
            Self::ImageTooManyPixels => ("IMAGE_TOO_MANY_PIXELS", Code::InvalidArgument, 413),
            Self::ImageUnsupportedFormat => ("IMAGE_UNSUPPORTED_FORMAT", Code::InvalidArgument, 415),
            Self::ImageUndecodable => ("IMAGE_UNDECODABLE", Code::InvalidArgument, 400),
            Self::UriSchemeUnsupported => ("URI_SCHEME_UNSUPPORTED", Code::InvalidArgument, 400),
            Self::UriNotAllowed => ("URI_NOT_ALLOWED", Code::PermissionDenied, 403),
            Self::ModelNotFound => ("MODEL_NOT_FOUND", Code::NotFound, 404),
            Self::JobNotFound => ("JOB_NOT_FOUND", Code::NotFound, 404),
            Self::ObjectNotFound => ("OBJECT_NOT_FOUND", Code::NotFound, 404),
            Self::DecisionNotFound => ("DECISION_NOT_FOUND", Code::NotFound, 404),
            Self::RecordIncomplete => ("RECORD_INCOMPLETE", Code::FailedPrecondition, 409),
            Self::InstanceNotFound => ("INSTANCE_NOT_FOUND", Code::NotFound, 404),
            Self::InstanceNotReady => ("INSTANCE_NOT_READY", Code::FailedPrecondition, 409),
            Self::ApiKeyInvalid => ("API_KEY_INVALID", Code::Unauthenticated, 401),
            Self::ScopeMissing => ("SCOPE_MISSING", Code::PermissionDenied, 403),
            Self::QueueFull => ("QUEUE_FULL", Code::ResourceExhausted, 429),
            Self::WaitExceedsDeadline => ("WAIT_EXCEEDS_DEADLINE", Code::ResourceExhausted, 429),
            Self::QuotaExceeded => ("QUOTA_EXCEEDED", Code::ResourceExhausted, 429),
            Self::ExpiredInQueue => ("EXPIRED_IN_QUEUE", Code::DeadlineExceeded, 504),
            Self::DeadlineExceeded => ("DEADLINE_EXCEEDED", Code::DeadlineExceeded, 504),
            // 499 is what proxies log for "the client closed the request".
            Self::Cancelled => ("CANCELLED", Code::Cancelled, 499),
            Self::Draining => ("DRAINING", Code::Unavailable, 503),
            Self::QueueUnavailable => ("QUEUE_UNAVAILABLE", Code::Unavailable, 503),
            Self::ServiceUnavailable => ("SERVICE_UNAVAILABLE", Code::Unavailable, 503),
            Self::RequestIdReused => ("REQUEST_ID_REUSED", Code::AlreadyExists, 409),
            Self::AlreadyExists => ("ALREADY_EXISTS", Code::AlreadyExists, 409),
            Self::VersionMismatch => ("VERSION_MISMATCH", Code::Aborted, 409),
            Self::Unimplemented => ("UNIMPLEMENTED", Code::Unimplemented, 501),
            Self::MaxAttempts => ("MAX_ATTEMPTS", Code::Internal, 500),
            Self::InferenceFailed => ("INFERENCE_FAILED", Code::Internal, 500),
            Self::Config => ("CONFIG", Code::FailedPrecondition, 500),
            Self::Internal => ("INTERNAL", Code::Internal, 500),
        }
    }
}

/// A kind, a sentence for a person, what was being done, and what a program can act on.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    /// Verb phrases, innermost first: "decode image", "classify".
    context: Vec<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    resource: Option<Resource>,
    quota: Option<Violation>,
    retry_after: Option<Duration>,
}

/// One field of a request that is wrong, as in `google.rpc.BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `options.top_k`, `images[3].content`.
    pub field: String,
    pub description: String,
}

/// What was not found, as in `google.rpc.ResourceInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `dunlin.v1.Model`, `dunlin.v1.Decision` ...
    pub kind: String,
    pub name: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            resource: None,
            quota: None,
            retry_after: None,
        }))
    }

    /// A request that is wrong in one field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self::new(Kind::InvalidRequest, format!("{field}: {description}")).with_violation(field, description)
    }

    /// A fault of ours, with its cause.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "").with_source(source)
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What was being done, as a verb phrase: `"receive tasks"`.
    #[must_use]
    pub fn context(mut self, doing: &'static str) -> Self {
        self.0.context.push(doing);
        self
    }

    /// A number or name a program can act on: `("limit", "10485760")`.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.metadata.insert(key.into(), value.to_string());
        self
    }

    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    #[must_use]
    pub fn with_resource(mut self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        self.0.resource = Some(Resource { kind: kind.into(), name: name.into() });
        self
    }

    /// Whose quota is used up (`key:ID`), and what it is, as in `google.rpc.QuotaFailure`.
    #[must_use]
    pub fn with_quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.quota = Some(Violation { field: subject.into(), description: description.into() });
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The sentence for the caller, without what was being done and without the cause: it may
    /// name our machines or files.
    pub fn message(&self) -> &str {
        if self.0.message.is_empty() {
            "a fault inside the service; the log has the cause"
        } else {
            &self.0.message
        }
    }

    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    pub fn resource(&self) -> Option<&Resource> {
        self.0.resource.as_ref()
    }

    /// The quota that is used up; its field is the subject.
    pub fn quota(&self) -> Option<&Violation> {
        self.0.quota.as_ref()
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// For logs: "classify: decode image: unexpected end of file".
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.0.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        match (&self.0.source, self.0.message.is_empty()) {
            (Some(source), true) => write!(f, "{source}"),
            (Some(source), false) => write!(f, "{}: {source}", self.0.message),
            (None, _) => f.write_str(self.message()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind().reason())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Adds what was being done to an error that is already ours.
pub trait ResultExt<T> {
    fn context(self, doing: &'static str) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context(self, doing: &'static str) -> Result<T> {
        self.map_err(|error| error.context(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_again_by_its_reason() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_reason(kind.reason()), Some(kind));
        }
        assert_eq!(Kind::from_reason("NO_SUCH_REASON"), None);
    }

    #[test]
    fn log_line_reads_outermost_first() {
        let error = Error::internal("timed out").context("receive tasks").context("run worker");
        assert_eq!(error.to_string(), "run worker: receive tasks: timed out");
    }

    #[test]
    fn caller_is_not_shown_the_cause_of_our_own_fault() {
        let error = Error::internal("/var/lib/secret: permission denied");
        assert!(!error.message().contains("secret"));
    }
}
