//! An `Error` as `google.rpc.Status` with details, back again, and as the JSON body HTTP callers get.

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use serde::Serialize;
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use super::{Error, Kind, Violation};
use crate::serve::request_id;

/// `domain` in every `ErrorInfo`: whose reasons these are.
const DOMAIN: &str = "dunlin.dev";

impl Error {
    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        let metadata: std::collections::HashMap<String, String> =
            self.metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        details.set_error_info(self.kind().reason(), DOMAIN, metadata);
        if !self.violations().is_empty() {
            let violations = self
                .violations()
                .iter()
                .map(|violation| tonic_types::FieldViolation::new(&violation.field, &violation.description))
                .collect::<Vec<_>>();
            details.set_bad_request(violations);
        }
        if let Some(resource) = self.resource() {
            details.set_resource_info(&resource.kind, &resource.name, "", self.message());
        }
        if let Some(quota) = self.quota() {
            details.add_quota_failure_violation(&quota.field, &quota.description);
        }
        if let Some(after) = self.retry_after() {
            details.set_retry_info(Some(after));
        }
        if let Some(id) = request_id::current() {
            details.set_request_info(&*id, "");
        }
        details
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let mut status = Self::with_error_details(error.kind().code(), error.message(), error.details());
        if let Some(after) = error.retry_after() {
            // gRPC A6: a client whose retry policy is on waits this long before it tries again.
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            status.metadata_mut().insert("grpc-retry-pushback-ms", millis.into());
        }
        status
    }
}

/// The error inside an `ImageResult`.
pub fn to_rpc_status(error: &Error) -> pb::Status {
    let status = tonic::Status::with_error_details(error.kind().code(), error.message(), error.details());
    pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: error.kind().code() as i32,
        message: error.message().to_owned(),
        details: Vec::new(),
    })
}

/// Names the current request in an error that was made elsewhere: by a worker, or for another caller
/// of the same image.
pub fn name_request(status: &mut pb::Status) {
    const TYPE_URL: &str = "type.googleapis.com/google.rpc.RequestInfo";
    status.details.retain(|any| any.type_url != TYPE_URL);
    if let Some(id) = request_id::current() {
        let info = pb::RequestInfo { request_id: id.to_string(), serving_data: String::new() };
        status.details.push(prost_types::Any { type_url: TYPE_URL.to_owned(), value: info.encode_to_vec() });
    }
}

/// The error a worker put into a reply. A status without our `ErrorInfo` counts as a fault of ours.
pub fn from_rpc_status(status: &pb::Status) -> Error {
    let details = status.details.iter();
    let mut error = Error::new(Kind::Internal, status.message.clone());
    for any in details {
        match any.type_url.as_str() {
            "type.googleapis.com/google.rpc.ErrorInfo" => {
                if let Ok(info) = pb::ErrorInfo::decode(any.value.as_slice()) {
                    error.0.kind = Kind::from_reason(&info.reason).unwrap_or(Kind::Internal);
                    error.0.metadata = info.metadata.into_iter().collect();
                }
            }
            "type.googleapis.com/google.rpc.BadRequest" => {
                if let Ok(bad) = pb::BadRequest::decode(any.value.as_slice()) {
                    error.0.violations = bad
                        .field_violations
                        .into_iter()
                        .map(|one| Violation { field: one.field, description: one.description })
                        .collect();
                }
            }
            "type.googleapis.com/google.rpc.ResourceInfo" => {
                if let Ok(info) = pb::ResourceInfo::decode(any.value.as_slice()) {
                    error = error.with_resource(info.resource_type, info.resource_name);
                }
            }
            "type.googleapis.com/google.rpc.QuotaFailure" => {
                let failure = pb::QuotaFailure::decode(any.value.as_slice()).unwrap_or_default();
                if let Some(first) = failure.violations.into_iter().next() {
                    error = error.with_quota(first.subject, first.description);
                }
            }
            "type.googleapis.com/google.rpc.RetryInfo" => {
                if let Ok(info) = pb::RetryInfo::decode(any.value.as_slice()) {
                    error.0.retry_after = info.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
                }
            }
            _ => {}
        }
    }
    error
}

impl From<tonic::Status> for Error {
    /// What another service answered. Its own kind is kept; a bare status (a connection that
    /// broke, a server that is not ours) becomes the nearest kind of ours.
    fn from(status: tonic::Status) -> Self {
        if let Ok(rpc) = pb::Status::decode(status.details())
            && !rpc.details.is_empty()
        {
            return from_rpc_status(&rpc);
        }
        let kind = match status.code() {
            tonic::Code::Unavailable => Kind::ServiceUnavailable,
            tonic::Code::DeadlineExceeded => Kind::DeadlineExceeded,
            tonic::Code::Cancelled => Kind::Cancelled,
            tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Kind::InvalidRequest,
            tonic::Code::Unimplemented => Kind::Unimplemented,
            tonic::Code::ResourceExhausted => Kind::QueueFull,
            tonic::Code::Unauthenticated => Kind::ApiKeyInvalid,
            tonic::Code::PermissionDenied => Kind::ScopeMissing,
            _ => Kind::Internal,
        };
        Self::new(kind, status.message())
    }
}

/// The JSON body of an HTTP error (RFC 9457, `application/problem+json`), with the same reason,
/// metadata and details as over gRPC.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    status: u16,
    title: &'static str,
    detail: String,
    reason: &'static str,
    domain: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_violations: Vec<ViolationBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_violation: Option<QuotaBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct ViolationBody {
    field: String,
    description: String,
}

#[derive(Debug, Serialize)]
struct ResourceBody {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Debug, Serialize)]
struct QuotaBody {
    subject: String,
    description: String,
}

impl ErrorBody {
    pub const CONTENT_TYPE: &str = "application/problem+json";
}

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        Self {
            status: error.kind().http(),
            title: error.kind().code().description(),
            detail: error.message().to_owned(),
            reason: error.kind().reason(),
            domain: DOMAIN,
            metadata: error.metadata().clone(),
            field_violations: error
                .violations()
                .iter()
                .map(|one| ViolationBody { field: one.field.clone(), description: one.description.clone() })
                .collect(),
            resource: error
                .resource()
                .map(|one| ResourceBody { kind: one.kind.clone(), name: one.name.clone() }),
            quota_violation: error
                .quota()
                .map(|one| QuotaBody { subject: one.field.clone(), description: one.description.clone() }),
            retry_after_seconds: error.retry_after().map(|after| after.as_secs_f64()),
            request_id: request_id::current().map(|id| id.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Error {
        Error::new(Kind::QueueFull, "the queue holds 1000 images")
            .with_metadata("limit", 1000)
            .with_violation("images", "too many")
            .with_resource("dunlin.v1.Queue", "default")
            .with_quota("key:k1", "10 images a second")
            .with_retry_after(Duration::from_millis(1500))
    }

    #[test]
    fn error_survives_the_way_through_a_status() {
        for back in [from_rpc_status(&to_rpc_status(&full())), Error::from(tonic::Status::from(full()))] {
            assert_eq!(back.kind(), Kind::QueueFull);
            assert_eq!(back.message(), full().message());
            assert_eq!(back.metadata(), full().metadata());
            assert_eq!(back.violations(), full().violations());
            assert_eq!(back.resource(), full().resource());
            assert_eq!(back.quota(), full().quota());
            assert_eq!(back.retry_after(), full().retry_after());
        }
    }

    #[test]
    fn retry_time_is_also_sent_for_clients_with_a_retry_policy() {
        let status = tonic::Status::from(full());
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        assert_eq!(pushback.to_str().unwrap(), "1500");
    }

    #[test]
    fn http_body_has_the_same_reason() {
        let body = serde_json::to_value(ErrorBody::from(&full())).unwrap();
        assert_eq!(body["status"], 429);
        assert_eq!(body["reason"], "QUEUE_FULL");
        assert_eq!(body["metadata"]["limit"], "1000");
        assert_eq!(body["resource"]["name"], "default");
        assert_eq!(body["quota_violation"]["subject"], "key:k1");
        assert_eq!(body["retry_after_seconds"], 1.5);
    }

    #[test]
    fn bare_status_of_a_broken_connection_is_unavailable() {
        let error = Error::from(tonic::Status::unavailable("connection refused"));
        assert_eq!(error.kind(), Kind::ServiceUnavailable);
        assert!(error.kind().is_retryable());
    }
}
