//! The command line from outside: exit codes and sentences, without any server.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::{dunlin, nobody, run};

#[test]
fn wrong_usage_is_2_and_names_what_is_wrong() {
    let check = |arguments: &[&str], want: &str| {
        let ended = run(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(want), "{arguments:?}: {}", ended.err);
        assert!(ended.out.is_empty(), "{arguments:?}: {}", ended.out);
    };
    check(&["clasify", "a.jpg"], "classify");
    check(&["classify"], "FILES");
    check(&["classify", "--top-k", "0", "a.jpg"], "--top-k");
    check(&["classify", "--output", "yaml", "a.jpg"], "jsonl");
    check(&["classify", "--server", "ftp://x", "a.jpg"], "http://127.0.0.1:8000");
    check(&["bench", "--rate", "5", "--concurrency", "5"], "cannot be used with");
    check(&["completions", "cobol"], "bash");
    check(&["status", "--wach"], "--watch");
}

#[test]
fn server_that_is_not_there_is_69_and_says_how_to_start_one() {
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/flower.jpg");
    let nobody = nobody();
    let check = |arguments: &[&str], flag: &str| {
        let ended = run(arguments);
        assert_eq!(ended.code, 69, "{arguments:?}: {ended:?}");
        for part in [nobody.as_str(), "connection refused", "dunlin up", flag] {
            assert!(ended.err.contains(part), "{arguments:?}: no {part} in {}", ended.err);
        }
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    };
    check(&["classify", "--server", &nobody, picture], "DUNLIN_SERVER");
    check(&["bench", "--server", &nobody], "DUNLIN_SERVER");
    check(&["status", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["status", "--watch", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["decisions", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["explain", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["fleet", "list", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["fleet", "pause", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
    check(&["fleet", "set", "--max", "3", "--autoscaler", &nobody], "DUNLIN_AUTOSCALER");
}

#[test]
fn address_is_taken_from_the_environment_and_the_flag_wins() {
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/flower.jpg");
    let (one, other) = (nobody(), nobody());
    let with_variable = |arguments: &[&str]| {
        let output = dunlin(arguments).env("DUNLIN_SERVER", &one).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(with_variable(&["classify", picture]).contains(&one));
    assert!(with_variable(&["classify", picture, "--server", &other]).contains(&other));
}

#[test]
fn wrong_configuration_is_78_and_every_mistake_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dunlin.toml");
    let text = "[classify]\ntop_k = 0\ncolour = true\ntimeout = \"soon\"\n[clasify]\n";
    std::fs::write(&file, text).unwrap();
    let ended = run(&["classify", "a.jpg", "--min-score", "2", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.code, 78, "{ended:?}");
    for part in
        ["dunlin.toml:3", "colour", "dunlin.toml:5", "[clasify]", "--min-score", "--timeout", "--top-k"]
    {
        assert!(ended.err.contains(part), "no {part} in {}", ended.err);
    }
}

#[test]
fn missing_files_are_rows_and_need_no_server() {
    let ended = run(&["classify", "--server", &nobody(), "-o", "jsonl", "none.jpg", "/"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let rows = ended.json_lines();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["file"], &rows[0]["error"]["reason"]),
        (&"none.jpg".into(), &"FILE_NOT_FOUND".into())
    );
    assert_eq!(rows[1]["error"]["reason"], "FILE_UNREADABLE");
    assert!(ended.err.contains("2 of 2 failed"), "{}", ended.err);
}

#[test]
fn completions_come_for_each_shell_and_end_quietly_when_nobody_reads_on() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.code, 0, "{shell}: {}", ended.err);
        assert!(ended.out.contains("classify"), "{shell}");
    }
    let mut child =
        dunlin(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    // One line read, then the pipe closes with most of the script unread.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(first.starts_with("_dunlin()"), "{first}");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn port_in_use_is_78_and_the_sentence_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0";
    let data = folder.path().to_str().unwrap();
    let rest = ["--no-samples", "--model", "stub:0ms", "--data", data];
    for flag in ["--listen", "--internal-listen", "--autoscaler-listen"] {
        let mut arguments = Vec::new();
        for one in ["--listen", "--internal-listen", "--autoscaler-listen"] {
            arguments
                .extend([one.to_owned(), if one == flag { address.to_string() } else { free.to_owned() }]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(rest).collect();
        let ended = run(&arguments);
        assert_eq!(ended.code, 78, "{flag}: {ended:?}");
        let port = address.port().to_string();
        assert!(ended.err.contains(&format!("port {port} is in use by PID")), "{flag}: {}", ended.err);
        assert!(ended.out.is_empty(), "{flag}: {}", ended.out);
    }
}

#[test]
fn help_shows_examples_and_variables() {
    let ended = run(&["--help"]);
    assert_eq!(ended.code, 0);
    for part in ["Examples:", "classify", "Exit codes:"] {
        assert!(ended.out.contains(part), "no {part} in {}", ended.out);
    }
    let ended = run(&["classify", "--help"]);
    for part in ["DUNLIN_SERVER", "[default: http://127.0.0.1:8000]", "--top-k"] {
        assert!(ended.out.contains(part), "no {part} in {}", ended.out);
    }
}
