//! What a caller is told of an error, so that protocols can be compared.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;

use platform::Kind;
use proto::v1::ClassifyRequest;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{
    System,
    wire::{Response, exchange, post},
};

pub const REQUEST_ID: &str = "row-0123456789";

/// What a caller is told, whatever the protocol.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    pub reason: String,
    pub message: String,
    pub fields: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    pub resource: Option<(String, String)>,
    /// Whose quota is used up.
    pub quota: Option<String>,
    pub can_retry: bool,
    pub request_id: String,
}

pub fn of_status(status: &Status) -> Said {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error has an ErrorInfo");
    assert_eq!(info.domain, "dunlin.dev");
    assert_eq!(status.code(), Kind::from_reason(&info.reason).unwrap().code());
    let can_retry = details.retry_info().is_some();
    assert_eq!(status.metadata().contains_key("grpc-retry-pushback-ms"), can_retry);
    Said {
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        fields: details.bad_request().map_or_else(Vec::new, |bad| {
            bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
        }),
        metadata: info.metadata.clone().into_iter().collect(),
        resource: details.resource_info().map(|one| (one.resource_type.clone(), one.resource_name.clone())),
        quota: details.quota_failure().map(|failure| failure.violations[0].subject.clone()),
        can_retry,
        request_id: details.request_info().expect("every error names its request").request_id.clone(),
    }
}

pub fn of_response(response: &Response) -> Said {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let kind = Kind::from_reason(body["reason"].as_str().unwrap()).unwrap();
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!((response.status, &body["status"]), (kind.http(), &kind.http().into()));
    assert_eq!(body["domain"], "dunlin.dev");
    assert_eq!(response.header("retry-after").is_some(), body["retry_after_seconds"].is_number());
    let fields = body["field_violations"].as_array().cloned().unwrap_or_default();
    let metadata = body["metadata"].as_object().cloned().unwrap_or_default();
    let resource = body.get("resource");
    Said {
        reason: text(&body["reason"]),
        message: text(&body["detail"]),
        fields: fields.iter().map(|violation| text(&violation["field"])).collect(),
        metadata: metadata.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        resource: resource.map(|one| (text(&one["type"]), text(&one["name"]))),
        quota: body.get("quota_violation").map(|quota| text(&quota["subject"])),
        can_retry: body["retry_after_seconds"].is_number(),
        request_id: text(&body["request_id"]),
    }
}

pub async fn over_grpc(system: &System, request: impl tonic::IntoRequest<ClassifyRequest>) -> Said {
    let mut request = request.into_request();
    request.metadata_mut().insert("x-request-id", REQUEST_ID.parse().unwrap());
    let status = system.client().await.classify(request).await.unwrap_err();
    assert_eq!(status.metadata().get("x-request-id").unwrap(), REQUEST_ID, "{status:?}");
    of_status(&status)
}

pub async fn over_http(system: &System, path: &str, body: &[u8]) -> Said {
    over_http_with(system, path, "", body).await
}

/// With more headers.
pub async fn over_http_with(system: &System, path: &str, more: &str, body: &[u8]) -> Said {
    let headers = format!(
        "X-Request-Id: {REQUEST_ID}\r\nAccept: application/json\r\nContent-Type: image/jpeg\r\n{more}"
    );
    let response = exchange(system.public, &post(path, &headers, body)).await;
    assert_eq!(response.header("x-request-id"), Some(REQUEST_ID));
    of_response(&response)
}

pub fn check(said: &Said, kind: Kind, fields: &[&str]) {
    assert_eq!(said.reason, kind.reason(), "{said:?}");
    assert_eq!(said.fields, fields, "{said:?}");
    assert_eq!(said.request_id, REQUEST_ID, "{said:?}");
    assert_eq!(said.can_retry, kind.is_retryable(), "{said:?}");
    assert!(!said.message.is_empty() && !said.message.contains('\n'), "{said:?}");
}
