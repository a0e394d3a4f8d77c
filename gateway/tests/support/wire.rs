//! HTTP/1.1 by hand: what was sent is seen in the test, and nothing is done for it.
#![allow(dead_code, clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends these bytes on a connection of their own and reads one response.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that answers early may close before it has read everything.
    let _ = stream.write_all(request).await;
    tokio::time::timeout(Duration::from_secs(20), read(&mut stream)).await.expect("always an answer")
}

pub async fn read(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed without an answer");
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response { status, head, body: bytes.split_off(head_end + 4) };
    let length = response.header("content-length").map(|length| length.parse::<usize>().unwrap());
    while length.is_none_or(|length| response.body.len() < length) {
        if stream.read_buf(&mut response.body).await.unwrap() == 0 {
            break;
        }
    }
    response
}

/// What Python's requests sends for `requests.post(url, files={field: open(path, 'rb')})`.
pub fn python_requests(path: &str, field: &str, file_name: &str, content: &[u8]) -> Vec<u8> {
    let boundary = "0f2b5c9c7a1e4d3f8b6a9c0d1e2f3a4b";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file_name}\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, \
         deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Length: {}\r\nContent-Type: \
         multipart/form-data; boundary={boundary}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// One unary gRPC-web call over HTTP/1.1, framed by hand.
pub async fn grpc_web(address: SocketAddr, method: &str, more: &str, message: &[u8]) -> Response {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0][..], &length, message].concat();
    let headers = "Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nConnection: close\r\n";
    let headers = format!("{headers}{more}");
    exchange(address, &post(&format!("/dunlin.v1.ClassifierService/{method}"), &headers, &framed)).await
}

/// The gRPC status of a gRPC-web response, from its headers or from the trailers in its body.
pub fn status(response: &Response) -> tonic::Status {
    let in_body = String::from_utf8_lossy(&response.body);
    let lines = response.head.lines().skip(1).chain(in_body.lines());
    let mut headers = http::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        // The frame's head stands before the first trailer.
        let name = name.trim_matches(|byte: char| !byte.is_ascii_alphanumeric());
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(name.as_bytes()), value.trim().parse::<http::HeaderValue>())
        {
            headers.insert(name, value);
        }
    }
    tonic::Status::from_header_map(&headers).expect("a gRPC status")
}
