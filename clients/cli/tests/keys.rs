//! Keys and TLS as operators and callers use them: keys made on the command line, the real `dunlin up`, and clients that
//! are not ours.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use world::{DUNLIN, Up, dunlin, until};

mod world;

/// Runs it and gives the exit code and all it said.
fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (
        status.code().unwrap(),
        format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)),
    )
}

fn make(file: &Path, flags: &[&str]) -> (String, String) {
    let output =
        dunlin().args(["key", "create", "-o", "json", "--keys"]).arg(file).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

fn picture(folder: &Path) -> PathBuf {
    let path = folder.join("cat.jpg");
    std::fs::write(&path, world::JPEG).unwrap();
    path
}

fn classify(up: &Up, picture: &Path, key: Option<&str>) -> (i32, String) {
    let mut command = dunlin();
    if let Some(key) = key {
        command.env("DUNLIN_KEY", key);
    }
    run(command.args(["classify", "--server", &up.addresses.public.to_string()]).arg(picture))
}

/// One test, because starting the system is what takes time.
#[test]
fn keys_open_what_they_are_for_until_they_are_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let (caller_id, caller) = make(&file, &["--name", "app", "--scope", "classify"]);
    let (_, operator) = make(&file, &["--name", "ops", "--scope", "admin"]);
    let picture = picture(folder.path());
    let up = Up::stub(&["--model", "stub:0ms", "--log", "debug", "--keys", file.to_str().unwrap()]);

    let (code, said) = classify(&up, &picture, None);
    assert_ne!(code, 0);
    assert!(said.contains("key"), "{said}");
    assert_eq!(classify(&up, &picture, Some(&caller)).0, 0);
    assert_eq!(classify(&up, &picture, Some(&operator)).0, 0);
    assert_ne!(classify(&up, &picture, Some(&format!("{caller}x"))).0, 0);

    grpcurl(&up, &caller);
    old_upload(&up, &picture, &caller);

    let autoscaler = up.addresses.autoscaler.to_string();
    let pause = |key: &str| {
        run(dunlin().env("DUNLIN_KEY", key).args([
            "fleet",
            "pause",
            "--for",
            "1m",
            "--autoscaler",
            &autoscaler,
        ]))
    };
    let (code, said) = pause(&caller);
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("admin"), "{said}");
    assert_eq!(pause(&operator).0, 0);

    let revoked = run(dunlin().args(["key", "revoke", &caller_id, "--keys"]).arg(&file));
    assert_eq!(revoked.0, 0, "{}", revoked.1);
    until("the key to be refused", || (classify(&up, &picture, Some(&caller)).0 != 0).then_some(()));
    assert_eq!(classify(&up, &picture, Some(&operator)).0, 0, "others are not touched");
    let list = run(dunlin().args(["key", "list", "--keys"]).arg(&file)).1;
    for key in [&caller, &operator] {
        assert!(
            !list.contains(key.as_str()) && !std::fs::read_to_string(&file).unwrap().contains(key.as_str())
        );
        assert!(!(up.stdout() + &up.stderr()).contains(key.as_str()), "a key is in the log");
    }
}

fn grpcurl(up: &Up, key: &str) {
    let Some(program) = std::env::var_os("DUNLIN_TEST_GRPCURL") else {
        return eprintln!("skipped: DUNLIN_TEST_GRPCURL is not set; ./check sets it");
    };
    let ask = |flags: &[&str]| {
        let list = ["-plaintext", "-d", "{}", &up.addresses.public.to_string()].map(str::to_owned);
        run(Command::new(&program).args(flags).args(list).arg("dunlin.v1.JobService/ListJobs"))
    };
    let (code, said) = ask(&[]);
    assert!(code != 0 && said.contains("Unauthenticated") && said.contains("API_KEY_INVALID"), "{said}");
    let (code, said) = ask(&["-H", &format!("authorization: Bearer {key}")]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(ask(&["-H", &format!("x-api-key: {key}")]).0, 0);
}

/// Python's requests, as the old generators use it, with a header.
fn old_upload(up: &Up, picture: &Path, key: &str) {
    let Some(python) = std::env::var_os("DUNLIN_TEST_PYTHON") else {
        return eprintln!("skipped: DUNLIN_TEST_PYTHON is not set; ./check sets it");
    };
    const PROGRAM: &str = "import sys, requests
url, path, key = sys.argv[1:]
headers = {'authorization': 'Bearer ' + key} if key else {}
answer = requests.post(url, files={'myfile': open(path, 'rb')}, headers=headers)
print(answer.status_code, answer.headers.get('www-authenticate'), answer.text)";
    let url = format!("http://{}/upload", up.addresses.public);
    let post = |key: &str| run(Command::new(&python).args(["-c", PROGRAM, &url]).arg(picture).arg(key)).1;
    assert!(post("").starts_with("401 Bearer"), "{}", post(""));
    assert!(post(key).starts_with("200 "), "{}", post(key));
}

#[test]
fn up_with_tls_answers_by_its_own_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path());
    let up = Up::stub(&["--model", "stub:0ms", "--tls"]);
    let server = format!("https://{}", up.addresses.public);
    let certificate = up.folder.path().join("data/tls");
    let mut certificate = std::fs::read_dir(certificate).unwrap().map(|entry| entry.unwrap().path());
    let certificate = certificate
        .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("BEGIN CERTIFICATE")))
        .unwrap();
    let classify = |flags: &[&str]| {
        run(Command::new(DUNLIN).env_remove("DUNLIN_KEY").args(["classify", "--server", &server]).args(flags))
    };
    let picture = picture.to_str().unwrap();
    let (code, said) = classify(&["--ca", certificate.to_str().unwrap(), picture]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = classify(&[picture]);
    assert_eq!(code, 69, "a certificate nobody vouched for: {said}");

    if let Some(program) = std::env::var_os("DUNLIN_TEST_GRPCURL") {
        let public = up.addresses.public.to_string();
        let mut grpcurl = Command::new(program);
        let (code, said) = run(grpcurl.arg("-cacert").arg(&certificate).args([&public, "list"]));
        assert!(code == 0 && said.contains("dunlin.v1.ClassifierService"), "{said}");
    }
    if let Some(python) = std::env::var_os("DUNLIN_TEST_PYTHON") {
        const PROGRAM: &str = "import sys, requests
print(requests.post(sys.argv[1], files={'myfile': open(sys.argv[2], 'rb')}, verify=sys.argv[3]).status_code)";
        let url = format!("{server}/upload");
        let (_, said) = run(Command::new(python).args(["-c", PROGRAM, &url, picture]).arg(&certificate));
        assert_eq!(said.trim(), "200");
    }
}

#[test]
fn address_that_others_reach_wants_keys_or_a_word() {
    let refused =
        run(dunlin().args(["gateway", "--listen", "0.0.0.0:0", "--internal-listen", "127.0.0.1:0"]));
    assert_eq!(refused.0, 78, "{}", refused.1);
    assert!(refused.1.contains("--keys") && refused.1.contains("--allow-anonymous"), "{}", refused.1);
    let refused =
        run(dunlin().args(["gateway", "--listen", "127.0.0.1:0", "--internal-listen", "0.0.0.0:0"]));
    assert_eq!(refused.0, 78, "{}", refused.1);
    assert!(refused.1.contains("--internal-secret-file"), "{}", refused.1);
}
