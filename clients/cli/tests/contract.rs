//! What the gateway promises, proved by Python's grpc and requests against the real program.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

use world::Up;

mod world;

#[test]
fn python_clients_find_every_promise_kept() {
    let Some(python) = std::env::var_os("DUNLIN_TEST_PYTHON") else {
        eprintln!("skipped: DUNLIN_TEST_PYTHON is not set; ./check sets it");
        return;
    };
    // Slow enough for a stream to be cancelled and a deadline to pass while images wait.
    let up = Up::stub(&["--model", "stub:100ms", "--max-instances", "1"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/contract.py");
    let output = Command::new(python).arg(script).arg(up.addresses.public.to_string()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let kept = [
        "unary",
        "error details",
        "message over the limit",
        "deadline",
        "stream",
        "cancelled stream",
        "health",
        "bodies over the limit",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), kept, "{complained}");
}
