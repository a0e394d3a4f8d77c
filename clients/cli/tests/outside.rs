//! The system as strangers use it: grpcurl, Python's requests, gRPC-web, curl-like HTTP, and our own command line,
//! with the real model and photographs whose labels are known.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::Signal;
use serde::Deserialize;
use world::{Up, dunlin, until};

mod world;

#[derive(Deserialize)]
struct Expected {
    sample: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    file: String,
    label: String,
    classes: Vec<u32>,
}

fn samples() -> Vec<(PathBuf, Sample)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let text = std::fs::read_to_string(folder.join("expected.toml")).unwrap();
    let expected: Expected = toml::from_str(&text).unwrap();
    expected.sample.into_iter().map(|sample| (folder.join(&sample.file), sample)).collect()
}

/// A program that `./check` puts in place. Without it the test can't say anything, and says that.
fn program(variable: &str) -> Option<Command> {
    let found = std::env::var_os(variable);
    if found.is_none() {
        eprintln!("skipped: {variable} is not set; ./check sets it");
    }
    found.map(Command::new)
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    eprintln!(
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// One test, because starting the real model is what takes time; each client is a step of it.
#[test]
fn photographs_get_their_labels_through_every_door() {
    let mut up = Up::real(&["--keep", "600s"]);
    until("the photographs", || up.stdout().contains("5 of 5 in").then_some(()));
    for (_, sample) in samples() {
        assert!(up.stdout().contains(&sample.file), "{}", up.stdout());
    }
    assert!(up.stdout().contains("the autoscaler went 0 → "), "{}", up.stdout());
    let public = up.addresses.public.to_string();
    command_line(&public);
    uploads(&public);
    grpcurl(&public, &up.addresses.autoscaler.to_string());
    grpc_web(&public);
    bad_images(&public);
    up.signal(Signal::TERM);
    assert!(up.wait().success());
}

fn command_line(public: &str) {
    let files = samples().into_iter().map(|(path, _)| path);
    let output =
        run(dunlin().args(["classify", "--server", public, "-o", "json", "--top-k", "3"]).args(files));
    assert!(output.status.success());
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for (path, sample) in samples() {
        let row = rows.iter().find(|row| row["file"] == path.to_str().unwrap()).unwrap();
        let class = row["classifications"][0]["class_id"].as_u64().unwrap();
        assert!(sample.classes.iter().any(|accepted| u64::from(*accepted) == class), "{row}");
    }
}

fn uploads(public: &str) {
    let Some(mut python) = program("DUNLIN_TEST_PYTHON") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/upload.py");
    let files = samples().into_iter().map(|(path, _)| path);
    let output = run(python.arg(script).arg(format!("http://{public}")).args(files));
    assert!(output.status.success());
    let printed = text(&output);
    for (_, sample) in samples() {
        let stem = sample.file.split('.').next().unwrap();
        assert!(printed.contains(&format!("myfile /upload {}\n", sample.label)), "{printed}");
        assert!(printed.contains(&format!("inputFile / {stem}:{}\n", sample.label)), "{printed}");
    }
}

fn grpcurl(public: &str, autoscaler: &str) {
    let call = |arguments: &[&str], data: Option<&str>| -> Option<Output> {
        let mut command = program("DUNLIN_TEST_GRPCURL")?;
        command.arg("-plaintext");
        if let Some(data) = data {
            command.args(["-d", data]);
        }
        Some(run(command.args(arguments)))
    };
    let Some(list) = call(&[public, "list"], None) else { return };
    for service in ["dunlin.v1.ClassifierService", "grpc.health.v1.Health"] {
        assert!(text(&list).contains(service), "{}", text(&list));
    }
    let list = text(&call(&[autoscaler, "list"], None).unwrap());
    assert!(list.contains("externalscaler.ExternalScaler"), "KEDA's: {list}");
    let describe = text(&call(&[public, "describe", "dunlin.v1.ClassifierService.Classify"], None).unwrap());
    assert!(describe.contains("One image in, one answer out"), "comments are served too: {describe}");
    let (path, sample) = samples().into_iter().find(|(_, sample)| sample.file == "coffee.png").unwrap();
    let content = base64(&std::fs::read(path).unwrap());
    // An image is too long for an argument: grpcurl reads it from its input.
    let mut command = program("DUNLIN_TEST_GRPCURL").unwrap();
    command.args(["-plaintext", "-d", "@", public, "dunlin.v1.ClassifierService/Classify"]);
    let answer = with_input(&mut command, &format!(r#"{{"image": {{"content": "{content}"}}}}"#));
    assert!(answer.contains(&format!("\"label\": \"{}\"", sample.label)), "{answer}");
    let wrong = r#"{"image": {"content": "aGVsbG8="}, "options": {"top_k": 5000}}"#;
    let error = text(&call(&[public, "dunlin.v1.ClassifierService/Classify"], Some(wrong)).unwrap());
    for part in [
        "InvalidArgument",
        "google.rpc.ErrorInfo",
        "INVALID_REQUEST",
        "google.rpc.BadRequest",
        "options.top_k",
    ] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
    let health =
        call(&[public, "grpc.health.v1.Health/Check"], Some(r#"{"service": "dunlin.v1.ClassifierService"}"#));
    assert!(text(&health.unwrap()).contains("SERVING"));
    let nobody = call(&[public, "grpc.health.v1.Health/Check"], Some(r#"{"service": "nobody"}"#));
    assert!(text(&nobody.unwrap()).contains("NotFound"));
    let status = text(&call(&[autoscaler, "dunlin.v1.AutoscalerService/GetStatus"], None).unwrap());
    assert!(status.contains("\"latency\""), "{status}");
    let decisions = r#"{"changed_only": true}"#;
    let decisions =
        text(&call(&[autoscaler, "dunlin.v1.AutoscalerService/ListDecisions"], Some(decisions)).unwrap());
    assert!(decisions.contains("\"reason\""), "{decisions}");
    let missing = r#"{"decision_id": "nothing"}"#;
    let missing =
        text(&call(&[autoscaler, "dunlin.v1.AutoscalerService/GetDecision"], Some(missing)).unwrap());
    assert!(missing.contains("DECISION_NOT_FOUND"), "{missing}");
}

/// A unary call as a browser sends it: gRPC-web over HTTP/1.1, by Python's HTTP client.
fn grpc_web(public: &str) {
    let Some(mut python) = program("DUNLIN_TEST_PYTHON") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/grpc_web.py");
    for (path, sample) in samples() {
        let output =
            run(Command::new(python.get_program()).arg(&script).arg(format!("http://{public}")).arg(&path));
        assert!(text(&output).contains(&sample.label), "{}", text(&output));
        assert!(text(&output).contains("grpc-status:0"), "{}", text(&output));
    }
    python.env_clear();
}

fn bad_images(public: &str) {
    let folder = tempfile::tempdir().unwrap();
    let whole =
        std::fs::read(samples().into_iter().find(|(_, sample)| sample.file == "rocket.jpg").unwrap().0)
            .unwrap();
    let rows: [(&str, &[u8], &str); 4] = [
        ("empty.jpg", b"", "IMAGE_EMPTY"),
        ("text.jpg", b"this is a text", "IMAGE_UNSUPPORTED_FORMAT"),
        ("half.jpg", &whole[..whole.len() / 2], "IMAGE_UNDECODABLE"),
        ("bomb.png", &png_bomb(), "IMAGE_TOO_MANY_PIXELS"),
    ];
    let files = rows.iter().map(|(name, content, _)| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    });
    let good = samples().remove(0).0;
    let files = files.chain([good.clone()]).collect::<Vec<_>>();
    let output = run(dunlin().args(["classify", "--server", public, "-o", "json"]).args(&files));
    assert_eq!(output.status.code(), Some(1));
    let answers: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |path: &Path| {
        answers.as_array().unwrap().iter().find(|row| row["file"] == path.to_str().unwrap()).unwrap()
    };
    for ((_, _, reason), path) in rows.iter().zip(&files) {
        assert!(of(path).to_string().contains(reason), "{reason}: {}", of(path));
    }
    assert!(of(&good)["classifications"][0]["label"].is_string(), "one bad image fails alone");
}

/// The head of a PNG that claims 20000x20000 pixels, with its checksum right.
fn png_bomb() -> Vec<u8> {
    let mut head = b"IHDR".to_vec();
    head.extend(20_000_u32.to_be_bytes());
    head.extend(20_000_u32.to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&head);
    bytes.extend(crc32(&head).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all =
            chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * i) & 63) as usize];
            text.push(if i > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

fn with_input(command: &mut Command, input: &str) -> String {
    use std::{io::Write as _, process::Stdio};
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    text(&child.wait_with_output().unwrap())
}

#[test]
fn program_for_each_image_answers_in_place_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("classify.sh");
    std::fs::write(&script, "#!/bin/sh\ntest -f \"$1\" && echo \"test_0.JPEG,bathtub\"\n").unwrap();
    let up = Up::stub(&["--model", &format!("command:sh {}", script.display())]);
    let public = up.addresses.public.to_string();
    let output = run(dunlin().args(["classify", "--server", &public, "-o", "json"]).arg(&samples()[0].0));
    assert!(text(&output).contains("bathtub"), "{}", text(&output));
}

#[test]
fn port_in_use_is_named_with_who_has_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output =
        run(dunlin().args(["up", "--listen", &address, "--no-samples", "--data"]).arg(folder.path()));
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output);
    let port = taken.local_addr().unwrap().port().to_string();
    for part in [&format!("port {port} is in use by PID {}", std::process::id()), "--listen"] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
}

#[test]
fn all_wrong_options_of_up_are_shown_at_once() {
    let output = run(dunlin().args([
        "up",
        "--listen",
        "nowhere",
        "--model",
        "mystery:",
        "--min-instances",
        "9",
        "--max-instances",
        "3",
    ]));
    assert!(matches!(output.status.code(), Some(2 | 78)));
    for part in ["nowhere", "mystery", "--min-instances"] {
        assert!(text(&output).contains(part), "{part:?} is missing: {}", text(&output));
    }
}

#[test]
fn address_that_others_reach_is_refused_until_that_is_wanted() {
    let output = run(dunlin().args(["up", "--listen", "0.0.0.0:0", "--no-samples"]));
    assert_eq!(output.status.code(), Some(78));
    for part in ["--listen", "can be reached from other machines", "--allow-anonymous"] {
        assert!(text(&output).contains(part), "{part:?} is missing: {}", text(&output));
    }
    let up = Up::stub(&["--model", "stub:0", "--allow-anonymous"]);
    assert!(
        up.stdout().contains("only this machine can connect"),
        "as long as it listens on loopback: {}",
        up.stdout()
    );
}
