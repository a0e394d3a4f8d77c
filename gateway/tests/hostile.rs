//! Requests that nobody well-meaning sends, by the thousand, at the real program: it goes on serving,
//! and its memory stays where it was. Seeded: a failure comes again with the same requests.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use process::Process;
use prost::Message as _;
use proto::v1::{ClassifyOptions, ClassifyRequest, ClassifyStreamRequest, Image, image::Source};
use support::{
    JPEG, image,
    wire::{exchange, post, python_requests},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

mod process;
mod support;

/// SplitMix64: a seed makes the same requests everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        (0..self.below(length_max + 1)).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Some bytes changed, and sometimes cut or made longer.
    fn spoilt(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(6) {
            if !bytes.is_empty() {
                let at = self.below(bytes.len());
                bytes[at] = self.next().to_le_bytes()[0];
            }
        }
        match self.below(4) {
            0 => bytes.truncate(self.below(bytes.len() + 1)),
            1 => bytes.extend(self.bytes(100)),
            _ => {}
        }
        bytes
    }
}

/// A request with something random in every field; no image in it is one.
fn request(random: &mut Random) -> ClassifyRequest {
    let source = match random.below(3) {
        0 => Source::Content(random.bytes(2000).into()),
        1 => Source::Uri(String::from_utf8_lossy(&random.bytes(200)).into_owned()),
        _ => Source::Uri(format!("s3://{}", String::from_utf8_lossy(&random.bytes(50)))),
    };
    let number =
        |random: &mut Random| i32::from_le_bytes(random.next().to_le_bytes()[..4].try_into().unwrap());
    let options = ClassifyOptions {
        model: String::from_utf8_lossy(&random.bytes(40)).into_owned(),
        top_k: u32::from_le_bytes(number(random).to_le_bytes()),
        min_score: f32::from_bits(u32::from_le_bytes(number(random).to_le_bytes())),
        priority: number(random),
        max_queue_duration: Some(prost_types::Duration {
            seconds: i64::from_le_bytes(random.next().to_le_bytes()),
            nanos: number(random),
        }),
        ..ClassifyOptions::default()
    };
    let custom_id = String::from_utf8_lossy(&random.bytes(3000)).into_owned();
    ClassifyRequest {
        image: Some(Image { source: Some(source), custom_id }),
        options: Some(options),
        request_id: String::from_utf8_lossy(&random.bytes(300)).into_owned(),
    }
}

fn framed(random: &mut Random, message: &[u8]) -> Vec<u8> {
    let length = match random.below(4) {
        0 => u32::MAX,
        1 => u32::from_le_bytes(random.next().to_le_bytes()[..4].try_into().unwrap()),
        _ => u32::try_from(message.len()).unwrap(),
    };
    let flag = if random.below(8) == 0 { random.next().to_le_bytes()[0] } else { 0 };
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

fn web(random: &mut Random) -> Vec<u8> {
    let message = match random.below(4) {
        0 => random.bytes(3000),
        1 => request(random).encode_to_vec(),
        2 => {
            let images = (0..random.below(50)).filter_map(|_| request(random).image).collect();
            ClassifyStreamRequest { images, ..ClassifyStreamRequest::default() }.encode_to_vec()
        }
        _ => {
            let bytes = request(random).encode_to_vec();
            random.spoilt(bytes)
        }
    };
    let method = ["Classify", "BatchClassify", "ClassifyStream", "BidiClassify", "%00", "../x"];
    let path = format!("/dunlin.v1.ClassifierService/{}", method[random.below(method.len())]);
    let timeout = ["", "Grpc-Timeout: 99999999H\r\n", "Grpc-Timeout: \u{fc}\r\n", "Grpc-Timeout: 1n\r\n"];
    let kind = [
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc",
        "application/grpc-web",
    ];
    let headers = format!("Content-Type: {}\r\n{}", kind[random.below(4)], timeout[random.below(4)]);
    let body = framed(random, &message);
    post(&path, &headers, &body)
}

fn form(random: &mut Random) -> Vec<u8> {
    let content = random.bytes(3000);
    let name = String::from_utf8_lossy(&random.bytes(60)).replace(['\r', '\n'], "");
    let whole = python_requests("/upload", &name, &name, &content);
    let body_at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = random.spoilt(whole[body_at..].to_vec());
    let boundary = ["0f2b5c9c7a1e4d3f8b6a9c0d1e2f3a4b", "x", "\"", "", "----"][random.below(5)];
    post("/upload?format=%ff", &format!("Content-Type: multipart/form-data; boundary={boundary}\r\n"), &body)
}

fn json_or_query(random: &mut Random) -> Vec<u8> {
    let text = String::from_utf8_lossy(&random.bytes(500)).into_owned();
    match random.below(4) {
        0 => post("/upload", "Content-Type: application/json\r\n", text.as_bytes()),
        1 => {
            let body = format!("{}{text}", r#"{"image":"/9j"#.repeat(1 + random.below(200)));
            post("/upload", "Content-Type: application/json\r\n", body.as_bytes())
        }
        2 => post(&format!("/v1/classify?top_k={}", random.next()), "", JPEG),
        _ => post("/v1/classify?custom_id=%&model=%zz", "X-Request-Id: a\tb\r\n", &random.bytes(100)),
    }
}

fn broken_http(random: &mut Random) -> Vec<u8> {
    let upload = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n";
    match random.below(6) {
        0 => random.bytes(5000),
        1 => format!("{upload}Content-Length: 99999999999999999999999\r\n\r\nx").into_bytes(),
        2 => format!("{upload}Content-Length: 4000000000\r\n\r\nx").into_bytes(),
        3 => {
            let size = ["ffffffffffffffff", "7fffffff", "-1", "zz", ""][random.below(5)];
            format!("{upload}Transfer-Encoding: chunked\r\n\r\n{size}\r\nabc\r\n").into_bytes()
        }
        4 => format!("GET / HTTP/1.1\r\n{}\r\n", "X-Header: y\r\n".repeat(random.below(3000))).into_bytes(),
        _ => format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(random.below(70_000))).into_bytes(),
    }
}

/// The preface, and then frames of random kinds and lengths that say more than is there.
fn broken_http_2(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..random.below(20) {
        let payload = random.bytes(200);
        let length = if random.below(4) == 0 { 0x00ff_ffff } else { u32::try_from(payload.len()).unwrap() };
        let kind = u8::try_from(random.below(12)).unwrap();
        bytes.extend(&length.to_be_bytes()[1..]);
        bytes.extend([kind, random.next().to_le_bytes()[0]]);
        bytes.extend(u32::try_from(random.below(9)).unwrap().to_be_bytes());
        bytes.extend(payload);
    }
    bytes
}

/// Sends it, in one piece or slowly in several, and takes what comes for a short time; then hangs up.
async fn attack(address: SocketAddr, bytes: Vec<u8>, is_slow: bool) {
    let Ok(mut stream) = TcpStream::connect(address).await else { panic!("it does not listen any more") };
    let pieces = if is_slow { 5 } else { 1 };
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        if is_slow {
            tokio::time::sleep(Duration::from_millis(20)).await; // a slow sender is slow
        }
    }
    let mut answer = Vec::new();
    // Half of them send no end: they would be waited for.
    let reading = async {
        while answer.len() < 100_000 && stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {}
    };
    let _ = tokio::time::timeout(Duration::from_millis(100), reading).await;
}

async fn thousand_requests(address: SocketAddr, seed: u64) {
    const AT_ONCE: usize = 50;
    let mut random = Random(seed);
    let mut attacks = JoinSet::new();
    for i in 0..1000 {
        let bytes = match i % 6 {
            0 | 1 => web(&mut random),
            2 => form(&mut random),
            3 => json_or_query(&mut random),
            4 => broken_http(&mut random),
            _ => broken_http_2(&mut random),
        };
        let is_slow = random.below(8) == 0;
        attacks.spawn(attack(address, bytes, is_slow));
        if attacks.len() >= AT_ONCE {
            attacks.join_next().await.unwrap().unwrap();
        }
    }
    attacks.join_all().await;
}

#[tokio::test]
async fn thousand_malformed_requests_leave_the_gateway_serving_and_flat_in_memory() {
    /// Growth of the second thousand over the first: what allocators keep differs by a few.
    const GROWTH_MAX: u64 = 16 * 1024 * 1024;
    /// In all, above what it needs when idle: 50 at once with a few kilobytes each.
    const RESIDENT_MAX: u64 = 200 * 1024 * 1024;
    let process = Process::start(&["--request-timeout", "1s", "--body-idle-timeout", "1s"]);
    let worker = process.system().working_worker().await;
    // Open all the time: connections that say nothing, and ones that stopped in the middle.
    let mut half_open = Vec::new();
    for begun in ["", "POST /upload HT", "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(process.public).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            half_open.push(stream);
        }
    }
    thousand_requests(process.public, 1).await;
    let before = process.resident();
    thousand_requests(process.public, 2).await;
    let after = process.resident();
    eprintln!("resident: {before} after the first thousand, {after} after the second");
    assert!(after < before + GROWTH_MAX && after < RESIDENT_MAX, "{before} -> {after}");
    let answer = exchange(process.public, &python_requests("/upload", "myfile", "cat.jpg", JPEG)).await;
    assert_eq!((answer.status, answer.text()), (200, "cat"));
    let mut client = process.system().client().await;
    let request = ClassifyRequest { image: Some(image("dog.jpg", JPEG)), ..Default::default() };
    let result = client.classify(request).await.unwrap().into_inner().result.unwrap();
    assert_eq!(result.classifications[0].label, "dog");
    let panics = process.log().into_iter().filter(|line| line.contains("panicked")).collect::<Vec<_>>();
    assert!(panics.is_empty(), "{panics:?}");
    drop(half_open);
    worker.abort();
}
