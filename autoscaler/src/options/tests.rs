//! What is wrong is said all at once, and by the option.

use super::*;

fn problems(arguments: &[&str]) -> String {
    let mut problems = Problems::default();
    Options::from_arguments(arguments).unwrap().check(&mut problems);
    format!("{problems:?}")
}

#[test]
fn defaults_with_a_worker_program_are_fine() {
    assert_eq!(problems(&["--worker-command", "worker"]), "Problems([])");
}

#[test]
fn worker_program_keeps_its_own_flags() {
    let options =
        Options::from_arguments(["--worker-command", "worker", "--worker-command", "--queue"]).unwrap();
    assert_eq!(options.worker_command, ["worker", "--queue"]);
}

#[test]
fn profile_sets_defaults_and_flags_win_over_it() {
    let options = |arguments: &[&str]| Options::from_arguments(arguments).unwrap();
    let course = options(&["--profile", "cse546", "--fleet=ec2:app-tier"]);
    let step = Rule::Step(Step { messages_per_instance: 5, count_in_flight: false });
    assert_eq!((course.policy().rule, course.policy().max_instances), (step, 15));
    assert_eq!(course.policy().hold(&crate::decide::Boot { warm: HOLD_MAX, cold: HOLD_MAX }), Duration::ZERO);
    assert_eq!((course.name_prefix(), course.stopped_pool_max()), ("app-tier-instance-", 15));
    let changed = options(&["--profile=cse546", "--max-instances=3", "--policy=fixed"]);
    assert_eq!((changed.policy().name(), changed.max_instances()), ("fixed", 3));
    assert_eq!(options(&[]).policy().name(), "latency");
}

#[test]
fn worker_command_is_for_processes_only() {
    assert_eq!(problems(&["--fleet=simcloud:"]), "Problems([])");
    let text = problems(&["--fleet=simcloud:", "--worker-command=worker"]);
    assert!(text.contains("--worker-command: is only for local:"), "{text}");
    let ec2 = problems(&["--fleet=ec2:worker"]);
    assert_eq!(ec2.contains("this build has no EC2 driver"), cfg!(not(feature = "ec2")), "{ec2}");
}

#[test]
fn all_mistakes_are_told_at_once_and_name_the_option() {
    let text = problems(&[
        "--fleet=ec3:",
        "--min-instances=3",
        "--max-instances=2",
        "--tick=0s",
        "--latency-target=0s",
        "--store=s4://x",
        "--queue=sqs:",
        "--listen=0.0.0.0:8002",
    ]);
    for part in [
        "--fleet: \\\"ec3:\\\" is unknown; known: local:, external:",
        "--min-instances: 3 is over --max-instances, 2",
        "--tick: must be longer than 0s",
        "--latency-target: must be over 0",
        "--store:",
        "--queue: \\\"sqs:\\\" is unknown; known: memory:",
        "--listen:",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(problems(&[]).contains("--worker-command"));
}
