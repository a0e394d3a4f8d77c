//! `dunlin simulate` from outside: the table, the files, the exit codes, and what it says to names nobody has.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::run;

#[test]
fn table_has_a_row_for_ours_and_every_rival_and_grades_the_figure() {
    let ended = run(&["simulate", "burst", "--seeds", "2", "--no-tuning"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    for part in [
        "burst: 100 images",
        "latency",
        "course's step",
        "KEDA + HPA",
        "EC2 target tracking",
        "EC2 tracking from 0",
        "Knative KPA",
        "buildkite scaler",
        "Cortex async",
        "burst, T = 60 s",
        "p95 ≤ 57 s, ≤ 0.40 h",
    ] {
        assert!(ended.out.contains(part), "no {part} in {}", ended.out);
    }
}

#[test]
fn names_nobody_has_are_2_and_the_known_ones_are_listed() {
    let check = |arguments: &[&str], parts: &[&str]| {
        let ended = run(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        for part in parts {
            assert!(ended.err.contains(part), "{arguments:?}: no {part} in {}", ended.err);
        }
    };
    check(&["simulate", "brust"], &["burst", "ten_million"]);
    check(&["simulate", "--policies", "latency,kuda"], &["keda", "buildkite"]);
    check(&["simulate", "--policy", "magic"], &["latency", "backlog"]);
}

#[test]
fn list_names_loads_and_policies() {
    let ended = run(&["simulate", "--list"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    for part in ["flash", "spot_storm", "ten_million", "knative", "queueLength 5, poll 30 s"] {
        assert!(ended.out.contains(part), "no {part} in {}", ended.out);
    }
}

#[test]
fn check_fails_when_a_figure_is_not_met() {
    let ended = run(&["simulate", "burst", "--check", "--no-tuning", "--policies", "latency", "-o", "json"]);
    let result: Value = serde_json::from_str(&ended.out).unwrap();
    let met = result["figures"][0]["met"].as_bool().unwrap();
    assert_eq!(ended.code, i32::from(!met), "{ended:?}");
    let row = &result["scenarios"][0]["rows"][0];
    assert_eq!((&row["family"], &row["seeds"]), (&"latency".into(), &20.into()));
    assert_eq!(row["interrupted"], 0.0);
    let too_few = run(&["simulate", "burst", "--check", "--seeds", "2"]);
    assert_eq!(too_few.code, 78, "{too_few:?}");
    assert!(too_few.err.contains("--check needs at least 20"), "{}", too_few.err);
}

#[test]
fn files_are_written_where_told_and_have_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made");
    let out = out.to_str().unwrap();
    let ended = run(&["simulate", "burst", "--seeds", "1", "--policies", "latency,knative", "--out", out]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let read = |name: &str| std::fs::read_to_string(format!("{out}/{name}")).unwrap();
    assert!(read("report.html").contains("<h2>burst</h2>"));
    assert!(read("table.csv").lines().any(|line| line.starts_with("burst,60,knative,")));
    assert!(read("timeline.csv").lines().count() > 10);
    let nowhere = run(&["simulate", "burst", "--seeds", "1", "--out", "/dev/null/x"]);
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.err.contains("/dev/null/x"), "{}", nowhere.err);
}

#[test]
fn own_policy_meets_an_own_trace() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("monday.txt");
    std::fs::write(&trace, "# mine\n0.5\n1\n1\n7\n").unwrap();
    let trace = trace.to_str().unwrap();
    let arguments = ["simulate", "--trace", trace, "--seeds", "2", "--no-tuning", "--image-time", "1s"];
    let own =
        ["--policy", "latency", "--latency-target", "20s", "--max-instances", "4", "--policies", "course"];
    let ended = run(&[arguments.as_slice(), &own].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    for part in ["monday: 4 arrivals", "your latency", "T = 20 s", "course's step"] {
        assert!(ended.out.contains(part), "no {part} in {}", ended.out);
    }
    std::fs::write(trace, "1\nsoon\n").unwrap();
    let wrong = run(&["simulate", "--trace", trace]);
    assert_eq!(wrong.code, 78, "{wrong:?}");
    assert!(wrong.err.contains("line 2: \"soon\""), "{}", wrong.err);
}
