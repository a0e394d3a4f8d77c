//! What an instance is taken for, second by second.

use super::*;

const OPTIONS: RosterOptions = RosterOptions {
    warm_boot_prior: Duration::from_secs(2),
    cold_boot_prior: Duration::from_secs(3),
    slow_boot_prior: Duration::from_secs(4),
    paid_min: Duration::from_secs(60),
    grace: Duration::from_secs(10),
    orphan_after: Duration::ZERO,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

fn machine(state: MachineState) -> Machine {
    Machine {
        instance_id: "local-1".to_owned(),
        state,
        instance_type: String::new(),
        zone: String::new(),
        spot: false,
        billed_since: None,
        exit: None,
        draining: None,
    }
}

/// The states the one instance goes through at the given seconds.
fn states(
    roster: &mut Roster,
    members: &mut Members,
    machine: &Machine,
    seconds: &[u64],
) -> Vec<InstanceState> {
    let look = |second: &u64| {
        roster.update(at(*second), std::slice::from_ref(machine), members);
        roster.instances(members)[0].state
    };
    seconds.iter().map(look).collect()
}

fn ready() -> (Roster, Members, u64) {
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    members.begin("local-1", at(0));
    roster.started("local-1", at(0), "first");
    assert_eq!(
        states(&mut roster, &mut members, &machine(MachineState::Running), &[0]),
        [InstanceState::Starting]
    );
    let (session, _) = members.connect("local-1", at(3)).unwrap();
    assert_eq!(
        states(&mut roster, &mut members, &machine(MachineState::Running), &[3]),
        [InstanceState::Ready]
    );
    (roster, members, session)
}

#[test]
fn boot_is_measured_from_start_to_hello() {
    let (roster, ..) = ready();
    assert_eq!(roster.boot().warm, Duration::from_secs(3));
    assert_eq!(roster.boot().cold, OPTIONS.cold_boot_prior);
    assert_eq!(roster.shown()[0].decision_id, "first");
}

#[test]
fn boots_of_new_instances_are_measured_apart() {
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    let running = machine(MachineState::Running);
    for (second, boot) in [(0, 50), (1000, 90), (2000, 70)] {
        members.begin("local-1", at(second));
        roster.launched("local-1", at(second), "first");
        states(&mut roster, &mut members, &running, &[second]);
        assert!(roster.instances(&members)[0].cold);
        let expected = roster.boot().cold;
        let due = at(second) + expected;
        assert_eq!(roster.ready_times(at(second)), Some((due, due)));
        members.connect("local-1", at(second + boot)).unwrap();
        states(&mut roster, &mut members, &running, &[second + boot]);
    }
    let measured = Boot { warm: OPTIONS.warm_boot_prior, cold: Duration::from_secs(70) };
    assert_eq!(roster.boot(), measured);
    // The next process knows it, and does not forget what it has measured itself.
    let mut next = Roster::new(OPTIONS);
    next.remember(roster.boots().clone());
    assert_eq!(next.boot(), measured);
    next.remember(Boots::default());
    assert_eq!(next.boot(), measured);
    // Stopped and started again it is like any other.
    states(&mut roster, &mut members, &machine(MachineState::Stopped), &[3000]);
    members.begin("local-1", at(3001));
    roster.started("local-1", at(3001), "second");
    states(&mut roster, &mut members, &running, &[3001]);
    assert!(!roster.instances(&members)[0].cold);
}

#[test]
fn each_start_is_paid_for_a_minute_whatever_the_cloud_still_lists() {
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    let billed = |since: u64| Machine { billed_since: Some(at(since)), ..machine(MachineState::Running) };
    let paid_until = |roster: &mut Roster, members: &mut Members, second: u64, machine: &Machine| {
        roster.update(at(second), std::slice::from_ref(machine), members);
        roster.instances(members)[0].paid_until
    };
    members.begin("local-1", at(500));
    roster.started("local-1", at(500), "first");
    assert_eq!(paid_until(&mut roster, &mut members, 501, &billed(0)), at(560), "listed late");
    assert_eq!(paid_until(&mut roster, &mut members, 510, &billed(505)), at(565), "billed once it runs");
    let stopped = machine(MachineState::Stopped);
    assert_eq!(paid_until(&mut roster, &mut members, 600, &stopped), Duration::ZERO);
    // One that we did not start.
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    assert_eq!(paid_until(&mut roster, &mut members, 10, &billed(3)), at(63));
    let free = RosterOptions { paid_min: Duration::ZERO, ..OPTIONS };
    assert_eq!(paid_until(&mut Roster::new(free), &mut members, 10, &billed(3)), Duration::ZERO);
}

#[test]
fn silent_worker_is_lost_only_after_the_grace() {
    use InstanceState::{Lost, Ready};
    let running = machine(MachineState::Running);
    let (mut roster, mut members, session) = ready();
    // Its session is open: it may be busy.
    assert_eq!(states(&mut roster, &mut members, &running, &[12, 33, 34]), [Ready, Ready, Lost]);
    let (mut roster, mut members, _) = ready();
    members.disconnect("local-1", session);
    assert_eq!(states(&mut roster, &mut members, &running, &[13, 14]), [Ready, Lost]);
    // And is back when it registers again.
    members.connect("local-1", at(15)).unwrap();
    assert_eq!(states(&mut roster, &mut members, &running, &[15]), [Ready]);
}

#[test]
fn worker_that_never_registers_is_lost_after_the_boot_limit() {
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    members.begin("local-1", at(0));
    roster.started("local-1", at(0), "first");
    let running = machine(MachineState::Running);
    let seen = states(&mut roster, &mut members, &running, &[60, 61]);
    assert_eq!(seen, [InstanceState::Starting, InstanceState::Lost]);
}

#[test]
fn drained_worker_may_be_stopped_even_when_it_is_silent() {
    let (mut roster, mut members, session) = ready();
    members.drain("local-1", at(4), "second");
    let running = machine(MachineState::Running);
    assert_eq!(states(&mut roster, &mut members, &running, &[4]), [InstanceState::Draining]);
    members.drained("local-1", session, at(5), "second");
    members.disconnect("local-1", session);
    assert_eq!(states(&mut roster, &mut members, &running, &[5, 500]), [InstanceState::Drained; 2]);
}

#[test]
fn death_says_how_it_came_and_whether_the_worker_had_proved_itself() {
    let dead = Machine { exit: Some("signal: 9".to_owned()), ..machine(MachineState::Stopped) };
    let (mut roster, mut members, session) = ready();
    members.heartbeat("local-1", session, at(13), proto::internal::v1::WorkerHeartbeat::default());
    let proved = roster.update(at(13), &[machine(MachineState::Running)], &mut members);
    assert_eq!((proved[0].from, proved[0].to), (InstanceState::Ready, InstanceState::Ready));
    let changes = roster.update(at(14), std::slice::from_ref(&dead), &mut members);
    let change = Change {
        instance_id: "local-1".to_owned(),
        from: InstanceState::Ready,
        to: InstanceState::Stopped,
        proved: true,
        exit: Some("signal: 9".to_owned()),
    };
    assert_eq!(changes, [change]);
    assert!(members.get("local-1").is_none());
}

#[test]
fn instance_that_is_not_listed_any_more_has_ended() {
    let (mut roster, mut members, _) = ready();
    let changes = roster.update(at(20), &[], &mut members);
    assert_eq!((changes[0].from, changes[0].to), (InstanceState::Ready, InstanceState::Stopped));
    assert_eq!(roster.instances(&members), []);
    assert!(members.get("local-1").is_none());
}

#[test]
fn machine_of_a_lost_worker_is_given_up_later_unless_it_never_came() {
    let options = RosterOptions { orphan_after: Duration::from_secs(600), ..OPTIONS };
    let running = machine(MachineState::Running);
    let given_up = |roster: &mut Roster, members: &mut Members, second: u64| {
        roster.update(at(second), std::slice::from_ref(&running), members);
        let instance = &roster.instances(members)[0];
        (instance.state == InstanceState::Lost, instance.given_up, roster.stop_why("local-1"))
    };
    // There before us: waited for.
    let (mut roster, mut members) = (Roster::new(options), Members::default());
    assert_eq!(given_up(&mut roster, &mut members, 0), (false, false, StopWhy::Drained));
    assert_eq!(given_up(&mut roster, &mut members, 61), (true, false, StopWhy::Lost));
    assert_eq!(given_up(&mut roster, &mut members, 661), (true, true, StopWhy::Lost));
    // Started by us: no use.
    let (mut roster, mut members) = (Roster::new(options), Members::default());
    roster.started("local-1", at(0), "first");
    assert_eq!(given_up(&mut roster, &mut members, 61), (true, true, StopWhy::BootFailed));
}

#[test]
fn worker_of_somebody_else_is_capacity_as_long_as_it_is_heard() {
    let (mut roster, mut members) = (Roster::new(OPTIONS), Members::default());
    let (session, _) = members.connect("mine", at(0)).unwrap();
    roster.update(at(0), &[], &mut members);
    let seen = roster.instances(&members);
    assert_eq!((seen[0].state, seen[0].owned), (InstanceState::Ready, false));
    members.disconnect("mine", session);
    roster.update(at(11), &[], &mut members);
    assert_eq!(roster.instances(&members), []);
}

#[test]
fn new_instance_is_given_time_although_stopped_ones_were_fast() {
    let options = RosterOptions { slow_boot_prior: Duration::from_secs(120), ..OPTIONS };
    let (mut roster, mut members) = (Roster::new(options), Members::default());
    let running = machine(MachineState::Running);
    roster.boots.add(Start::Warm, Duration::from_secs(5));
    members.begin("local-1", at(0));
    roster.launched("local-1", at(0), "first");
    let seen = states(&mut roster, &mut members, &running, &[61, 240, 241]);
    assert_eq!(seen, [InstanceState::Starting, InstanceState::Starting, InstanceState::Lost]);
}
