//! The HTTP side, byte for byte as the old clients send it (specs/upload.md), and gRPC-web on the
//! same port.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use support::{
    JPEG, start,
    wire::{exchange, grpc_web, post, python_requests},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

mod support;

#[tokio::test]
async fn every_field_and_path_gets_the_body_its_client_reads() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let rows = [
        ("/upload", "myfile", "test_00.jpg", "test_00"),
        ("/upload/", "file", "test_00.jpg", "test_00"),
        ("/", "inputFile", "test_00.jpg", "test_00:test_00"),
        ("/", "inputFile", "test_00.JPEG", "test_00:test_00"),
        ("/images/x", "myfile", "naïve 猫.jpg", "naïve 猫"),
        ("/classify_image", "image_file", "../../etc/passwd.jpg", "passwd"),
        ("/x.php", "myfile", "a%22b.jpg", "a\"b"),
        ("/upload", "inputFile", "a:b.jpg", "a_b:a b"),
        ("/upload?format=tuple", "myfile", "test_00.jpg", "(test_00.jpg,test_00)"),
        ("/upload?format=csv", "inputFile", "test_00.jpg", "test_00,test_00"),
        ("/upload?format=pair&x=1", "myfile", "test_00.jpg", "test_00:test_00"),
        ("/upload?format=label", "inputFile", "test_00.jpg", "test_00"),
        ("/upload", "myfile", "", "image"),
    ];
    for (path, field, file_name, want) in rows {
        let response = exchange(system.public, &python_requests(path, field, file_name, JPEG)).await;
        assert_eq!((response.status, response.text()), (200, want), "{path} {field} {file_name}");
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.header("content-length"), Some(want.len().to_string().as_str()));
        assert_eq!(response.header("content-encoding"), None);
    }
    worker.abort();
    system.stop().await;
}

/// Dispositions and contents.
type Parts<'a> = &'a [(&'a str, &'a [u8])];

#[tokio::test]
async fn first_part_with_a_file_name_is_the_image() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let form = |parts: Parts| {
        let mut body = Vec::new();
        for (disposition, content) in parts {
            body.extend_from_slice(
                format!("--X\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--X--\r\n");
        post("/upload", "Content-Type: multipart/form-data; boundary=X\r\n", &body)
    };
    let rows: [(Parts, u16, &str); 5] = [
        (&[("name=\"user\"", b"ann"), ("name=\"inputFile\"; filename=\"a.jpg\"", JPEG)], 200, "a:a"),
        (&[("name=\"myfile\"", JPEG)], 200, "image"),
        (&[("name=\"f\"; filename=\"x.jpg\"; filename*=UTF-8''%C3%BC.jpg", JPEG)], 200, "ü"),
        (
            &[("name=\"a\"; filename=\"one.jpg\"", JPEG), ("name=\"b\"; filename=\"two.jpg\"", JPEG)],
            200,
            "one",
        ),
        (&[], 400, "the form has no part; send one file"),
    ];
    for (parts, status, want) in rows {
        let response = exchange(system.public, &form(parts)).await;
        assert_eq!((response.status, response.text()), (status, want));
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn raw_bodies_and_json_are_taken_too() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let check = async |request: Vec<u8>, status: u16, part: &str| {
        let response = exchange(system.public, &request).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.text().contains(part), "{part:?} is missing in {:?}", response.text());
    };
    let json = |value: &str| post("/upload", "Content-Type: application/json\r\n", value.as_bytes());
    check(post("/upload", "Content-Type: image/jpeg\r\n", JPEG), 200, "image").await;
    check(post("/upload", "Content-Type: application/octet-stream\r\n", JPEG), 200, "image").await;
    check(json(r#"{"image": "/9j/4CBub3QgcmVhbGx5", "filename": "cat.jpg"}"#), 200, "cat").await;
    check(json(r#"{"content": "data:image/jpeg;base64,/9j/4CBub3QgcmVhbGx5"}"#), 200, "image").await;
    check(json(r#"{"content": "***"}"#), 400, "base64").await;
    check(json("{"), 400, "JSON").await;
    check(post("/upload", "Content-Type: application/x-www-form-urlencoded\r\n", b"a=b"), 415, "curl -F")
        .await;
    check(post("/upload", "", b"x"), 415, "curl -F").await;
    let accept = "Accept: application/json\r\nContent-Type: image/jpeg\r\n";
    check(post("/upload", accept, JPEG), 200, r#""label":"image""#).await;
    check(post("/upload", accept, b"text"), 415, r#""reason":"IMAGE_UNSUPPORTED_FORMAT""#).await;
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn bad_uploads_get_one_line_that_says_why() {
    let system = start(&["--image-bytes-max", "10000"]).await;
    let rows: [(Vec<u8>, u16); 6] = [
        (python_requests("/upload", "myfile", "x.jpg", b""), 400),
        (python_requests("/upload", "myfile", ".DS_Store", b"\0\0\0\x01Bud1"), 415),
        (python_requests("/upload", "myfile", "big.jpg", &[0xff; 10_001]), 413),
        // Past the form's limit too, and past what a socket buffers: drained, then answered.
        (python_requests("/upload", "myfile", "huge.jpg", &[0xff; 60_000]), 413),
        (post("/upload", "Content-Type: multipart/form-data\r\n", JPEG), 400),
        (post("/upload", "Content-Type: multipart/form-data; boundary=X\r\n", b"--X\r\nbroken"), 400),
    ];
    for (request, status) in rows {
        let response = exchange(system.public, &request).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(!response.text().is_empty() && !response.text().contains('\n'), "{:?}", response.text());
        assert_eq!(response.header("location"), None, "never a redirect");
    }
    system.stop().await;
}

#[tokio::test]
async fn far_too_large_body_is_answered_and_not_reset() {
    let system = start(&["--image-bytes-max", "1000000"]).await;
    let request = python_requests("/upload", "myfile", "huge.jpg", &vec![0xff; 9_000_000]);
    let response = exchange(system.public, &request).await;
    assert_eq!(response.status, 413, "{response:?}");
    assert!(response.text().contains("the limit is 1000000"), "{:?}", response.text());
    system.stop().await;
}

#[tokio::test]
async fn upload_waits_for_a_worker_and_ends_with_504() {
    let system = start(&["--request-timeout", "300ms"]).await;
    let response = exchange(system.public, &python_requests("/upload", "myfile", "x.jpg", JPEG)).await;
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(system.queue().counts().await.unwrap().visible, 0);
    system.stop().await;
}

#[tokio::test]
async fn full_queue_is_503_with_a_time_for_old_clients() {
    let system = start(&["--pending-max", "1"]).await;
    let mut held = TcpStream::connect(system.public).await.unwrap();
    held.write_all(&python_requests("/upload", "myfile", "x.jpg", JPEG)).await.unwrap();
    while system.queue().counts().await.unwrap().visible == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await; // until the first is queued
    }
    let response = exchange(system.public, &python_requests("/upload", "myfile", "y.jpg", JPEG)).await;
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    let response = exchange(system.public, &post("/v1/classify", "", JPEG)).await;
    assert_eq!(response.status, 429);
    drop(held);
    for _ in 0..200 {
        if system.queue().counts().await.unwrap().visible == 0 {
            system.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // until the server has seen the close
    }
    panic!("a caller that hung up still has its image in the queue");
}

#[tokio::test]
async fn sender_that_stops_sending_is_told_so() {
    let system = start(&["--body-idle-timeout", "200ms"]).await;
    let request = python_requests("/upload", "myfile", "x.jpg", &[0xff; 5000]);
    let response = exchange(system.public, &request[..request.len() - 3000]).await;
    assert_eq!(response.status, 504, "{response:?}");
    assert!(response.text().contains("stopped arriving"), "{:?}", response.text());
    system.stop().await;
}

#[tokio::test]
async fn v1_classify_takes_bytes_and_gives_json() {
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let response = exchange(system.public, &post("/v1/classify?custom_id=cat.jpg&top_k=1", "", JPEG)).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["custom_id"], "cat.jpg");
    assert_eq!(body["classifications"][0]["label"], "cat");
    assert_eq!(body["execution"]["queue_seconds"], 1.5);
    let rows: [(&str, &[u8], u16, &str); 5] = [
        ("/v1/classify", b"", 400, "IMAGE_EMPTY"),
        ("/v1/classify", b"text", 415, "IMAGE_UNSUPPORTED_FORMAT"),
        ("/v1/classify?top_k=1001", JPEG, 400, "INVALID_REQUEST"),
        ("/v1/classify?topk=1", JPEG, 400, "INVALID_REQUEST"),
        ("/v1/classify?model=none", JPEG, 404, "MODEL_NOT_FOUND"),
    ];
    for (path, body, status, reason) in rows {
        let response = exchange(system.public, &post(path, "", body)).await;
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["reason"], reason);
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn page_and_health_answer() {
    let system = start(&[]).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let page = exchange(system.public, &get("/")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self';"));
    let page = page.text();
    let script = page.split('"').find(|part| part.ends_with(".js")).unwrap();
    let script = exchange(system.public, &get(script)).await;
    assert_eq!((script.status, script.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(script.header("cache-control").unwrap().contains("immutable"));
    // What is new is that it is a file's address; a picture posted to it is still a picture.
    let picture = post("/assets/cat.jpg", "", b"");
    assert_ne!(exchange(system.public, &picture).await.status, 404);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/nothing", 404), ("/upload", 404)] {
        assert_eq!(exchange(system.public, &get(path)).await.status, status, "{path}");
    }
    system.stop().await;
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    use prost::Message as _;
    let system = start(&[]).await;
    let worker = system.working_worker().await;
    let call = |content: &[u8]| {
        let image = Some(support::image("cat.jpg", content));
        proto::v1::ClassifyRequest { image, ..Default::default() }.encode_to_vec()
    };
    let good = grpc_web(system.public, "Classify", "", &call(JPEG)).await;
    assert_eq!(good.status, 200, "{good:?}");
    assert_eq!(good.header("content-type"), Some("application/grpc-web+proto"));
    let text = String::from_utf8_lossy(&good.body);
    assert!(text.contains("cat") && text.contains("grpc-status:0"), "{text}");
    let bad = grpc_web(system.public, "Classify", "", &call(b"text")).await;
    assert_eq!(bad.header("grpc-status"), Some("3"), "{bad:?}");
    assert!(bad.header("grpc-status-details-bin").is_some());
    let unknown = grpc_web(system.public, "Nothing", "", &[]).await;
    assert_eq!(unknown.header("grpc-status"), Some("12"), "{unknown:?}");
    worker.abort();
    system.stop().await;
}

/// By hand, because a generated client has a timer of its own that may end first.
#[tokio::test]
async fn deadline_is_answered_as_such_and_the_image_is_withdrawn() {
    use prost::Message as _;
    let system = start(&[]).await;
    let image = Some(support::image("slow.jpg", JPEG));
    let message = proto::v1::ClassifyRequest { image, ..Default::default() }.encode_to_vec();
    let response = grpc_web(system.public, "Classify", "Grpc-Timeout: 300m\r\n", &message).await;
    assert_eq!(response.header("grpc-status"), Some("4"), "{response:?}");
    assert!(response.header("content-type").unwrap().starts_with("application/grpc-web"), "{response:?}");
    assert_eq!(system.queue().counts().await.unwrap().visible, 0, "nobody works for nobody");
    let response = grpc_web(system.public, "Classify", "Grpc-Timeout: soon\r\n", &message).await;
    assert_eq!(response.header("grpc-status"), Some("3"), "{response:?}");
    system.stop().await;
}
