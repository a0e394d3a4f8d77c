//! Who is let through to what, without a network.

use axum::{body::Body, routing::any};
use tower::ServiceExt as _;

use super::*;
use crate::auth::{KeyFile, NewKey};

struct World {
    router: Router,
    key: Secret,
    file: KeyFile,
    _folder: tempfile::TempDir,
}

async fn world(scope: Scope, rate: Option<f64>) -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.toml"));
    let new = NewKey { name: "ci".to_owned(), scopes: vec![scope], rate, expires_in: None };
    let (key, _) = file.create(new).unwrap();
    let keys = Keys::open(file.path()).await.unwrap();
    let router = guarded(&Guard::open().with_keys(Some(keys)));
    World { router, key, file, _folder: folder }
}

/// Answers whose key it is, and which headers are left.
fn guarded(guard: &Guard) -> Router {
    let told = |request: Request| async move {
        let secrets = ["authorization", "x-api-key", INTERNAL_SECRET];
        let left = secrets.into_iter().filter(|name| request.headers().contains_key(*name)).count();
        let caller = Caller::of(request.extensions());
        format!("{} {left}", caller.name().unwrap_or("-"))
    };
    guard.http(Router::new().fallback(any(told)), |_, path| match path {
        "/open" => Need::Nothing,
        "/read" => Need::key(Scope::Read, Charge::Call),
        "/keda" => Need::KeyOrCertificate(Scope::Read),
        "/peer" => Need::Peer,
        _ => Need::key(Scope::Classify, Charge::Call),
    })
}

async fn get(router: &Router, path: &str, header: Option<(&str, &str)>) -> (u16, HeaderMap, String) {
    let mut request = http::Request::builder().uri(path);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn key_is_taken_from_either_header_and_goes_no_further() {
    let world = world(Scope::Classify, None).await;
    let key = world.key.reveal();
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer  {key} ")),
        ("x-api-key", key.to_owned()),
    ] {
        let (status, _, body) = get(&world.router, "/", Some((name, &value))).await;
        assert_eq!((status, body.as_str()), (200, "ci 0"), "{name}: {value}");
    }
}

#[tokio::test]
async fn whoever_has_no_good_key_gets_401_that_says_how_and_not_why() {
    let world = world(Scope::Classify, None).await;
    let key = world.key.reveal();
    for header in [
        None,
        Some(("authorization", format!("Basic {key}"))),
        Some(("authorization", "Bearer".to_owned())),
        Some(("authorization", "Bearer ".to_owned())),
        Some(("authorization", format!("Bearer {key}x"))),
        Some(("x-api-key", key[..49].to_owned())),
        Some(("x-api-key", "x".repeat(5000))),
    ] {
        let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
        let (status, headers, body) = get(&world.router, "/", header).await;
        assert_eq!(status, 401, "{header:?}");
        assert_eq!(headers["www-authenticate"], "Bearer realm=\"dunlin\"");
        assert!(body.contains("API_KEY_INVALID") && !body.contains(&key[..20]), "{body}");
    }
    assert_eq!(get(&world.router, "/open", None).await.0, 200);
}

#[tokio::test]
async fn wrong_scope_is_403_and_names_the_one_that_is_missing() {
    let world = world(Scope::Classify, None).await;
    let (status, _, body) = get(&world.router, "/read", Some(("x-api-key", world.key.reveal()))).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 403);
    assert_eq!(body["reason"], "SCOPE_MISSING");
    assert_eq!(body["metadata"]["scope"], "read");
}

#[tokio::test]
async fn rate_of_one_key_is_429_with_the_time_and_leaves_other_keys_alone() {
    let world = world(Scope::Admin, Some(0.5)).await;
    let other = NewKey { name: "other".to_owned(), scopes: vec![Scope::Admin], rate: None, expires_in: None };
    let (other, _) = world.file.create(other).unwrap();
    let router = guarded(&Guard::open().with_keys(Some(Keys::open(world.file.path()).await.unwrap())));
    let key = Some(("x-api-key", world.key.reveal()));
    assert_eq!(get(&router, "/", key).await.0, 200);
    let (status, headers, body) = get(&router, "/", key).await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "2");
    assert!(body.contains("QUOTA_EXCEEDED") && body.contains("\"subject\":\"key:"), "{body}");
    for _ in 0..20 {
        assert_eq!(get(&router, "/", Some(("x-api-key", other.reveal()))).await.0, 200);
    }
}

#[tokio::test]
async fn own_services_bring_the_secret_and_nothing_else_will_do() {
    let secret = Secret::parse("the secret").ok();
    assert!(secret.is_none(), "spaces are not visible");
    let secret = Secret::parse(" the-secret\n").unwrap();
    let router = guarded(&Guard::open().with_secret(Some(&secret)));
    let check = async |header, want| assert_eq!(get(&router, "/peer", header).await.0, want, "{header:?}");
    check(Some((INTERNAL_SECRET, "the-secret")), 200).await;
    check(Some((INTERNAL_SECRET, "the-secre")), 401).await;
    check(Some((INTERNAL_SECRET, "")), 401).await;
    check(Some(("authorization", "Bearer the-secret")), 401).await;
    check(None, 401).await;
    // Callers need no secret.
    assert_eq!(get(&router, "/", None).await.0, 200);
}

#[tokio::test]
async fn certificate_stands_in_for_a_key_where_a_key_can_not_be_sent() {
    let world = world(Scope::Read, None).await;
    let keys = Some(Keys::open(world.file.path()).await.unwrap());
    let without = guarded(&Guard::open().with_keys(keys.clone()));
    let with = guarded(&Guard::open().with_keys(keys).with_certificates(true));
    assert_eq!(get(&without, "/keda", None).await.0, 401);
    assert_eq!(get(&without, "/keda", Some(("x-api-key", world.key.reveal()))).await.0, 200);
    assert_eq!(get(&with, "/keda", None).await.0, 200);
    assert_eq!(get(&with, "/read", None).await.0, 401);
}

#[tokio::test]
async fn key_can_be_passed_on_by_a_handler_that_means_to() {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", "secret".parse().unwrap());
    headers.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
    headers.insert(INTERNAL_SECRET, "ours".parse().unwrap());
    let sent = SentKey::take(&mut headers);
    assert_eq!(headers.keys().collect::<Vec<_>>(), [INTERNAL_SECRET]);
    let mut onward = HeaderMap::new();
    sent.put_back(&mut onward);
    assert_eq!(
        (&onward["x-api-key"], &onward["authorization"]),
        (&"secret".parse().unwrap(), &"Bearer secret".parse().unwrap())
    );
    assert!(!format!("{onward:?}").contains("secret"), "it is not in logs");
}
