//! What comes of the gateways' reports.

use proto::internal::v1::LatencyCount;

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

fn report(gateway: &str, enqueued: u64, waiting: u64, in_flight: u64) -> GatewaySessionRequest {
    GatewaySessionRequest {
        gateway_id: gateway.to_owned(),
        enqueued_total: enqueued,
        completed_total: enqueued - waiting,
        waiting,
        in_flight,
        ..GatewaySessionRequest::default()
    }
}

#[test]
fn gateways_add_up_and_the_oldest_report_counts() {
    let mut load = Load::default();
    assert_eq!(load.observe(at(0)).as_of, None);
    assert!(load.report(1, at(0), report("a", 8, 8, 3)));
    load.report(2, at(1), report("b", 4, 4, 0));
    let queue = load.observe(at(2));
    assert_eq!((queue.visible, queue.in_flight, queue.as_of), (9, 3, Some(at(0))));
}

#[test]
fn only_growth_is_worth_a_decision_at_once() {
    let mut load = Load::default();
    assert!(!load.report(1, at(0), report("a", 0, 0, 0)));
    assert!(load.report(1, at(1), report("a", 1, 1, 0)));
    load.observe(at(1));
    assert!(!load.report(1, at(2), report("a", 2, 2, 0)));
    assert!(load.report(1, at(3), report("a", 3, 3, 0)));
}

#[test]
fn rates_come_from_totals_and_survive_a_gateway_that_starts_again() {
    let mut load = Load::default();
    // What it had before we knew it is not an arrival now.
    load.report(1, at(0), report("a", 1000, 0, 0));
    for second in 1..=60 {
        load.report(1, at(second), report("a", 1000 + second * 2, 0, 0));
    }
    let Arrivals { fast, slow, total, .. } = load.arrivals(at(60));
    assert_eq!((fast, slow, total), (2.0, 2.0, 120));
    load.report(1, at(61), report("a", 5, 0, 0));
    assert_eq!(load.arrivals(at(61)).fast, 2.3);
    assert_eq!(load.arrivals(at(200)).slow, 0.0);
}

#[test]
fn gateway_that_went_away_is_counted_for_a_while() {
    let mut load = Load::default();
    load.report(1, at(0), report("a", 8, 8, 0));
    load.disconnect(1);
    assert_eq!(load.observe(at(29)).visible, 8);
    let queue = load.observe(at(30));
    assert_eq!((queue.visible, queue.as_of), (0, None));
}

#[test]
fn late_share_is_of_the_last_minute() {
    let mut load = Load::default();
    load.report(1, at(0), report("a", 0, 0, 0));
    load.report(1, at(1), GatewaySessionRequest { late_total: 1, ..report("a", 4, 0, 0) });
    assert_eq!(load.late_ratio(at(2)), 0.25);
    assert_eq!(load.late_ratio(at(90)), 0.0);
}

fn latencies(counts: &[(u32, u64)]) -> Vec<LatencyCount> {
    counts.iter().map(|(bucket, count)| LatencyCount { bucket: *bucket, count: *count }).collect()
}

#[test]
fn latencies_of_all_gateways_add_up_and_only_what_came_new_counts() {
    let mut load = Load::default();
    let with = |gateway: &str, enqueued, counts: &[(u32, u64)]| GatewaySessionRequest {
        latencies: latencies(counts),
        ..report(gateway, enqueued, 0, 0)
    };
    load.report(1, at(0), with("a", 1000, &[(40, 1000)]));
    load.report(2, at(0), with("b", 0, &[]));
    assert_eq!(load.latency(at(0), at(60)), None, "from before we knew it");
    load.report(1, at(10), with("a", 1010, &[(40, 1003), (80, 7)]));
    load.report(2, at(10), with("b", 90, &[(40, 90)]));
    let seen = load.latency(at(0), at(60)).unwrap();
    assert_eq!((seen.answered, seen.late_ratio), (100, 0.0));
    assert_eq!(latency::bucket(seen.p50), 40);
    assert_eq!(latency::bucket(seen.p95), 80);
    // It starts again: what it counts is new, though some of it is more than before.
    load.report(1, at(70), with("a", 50, &[(40, 10), (80, 40)]));
    assert_eq!(load.latency(at(60), at(120)).unwrap().answered, 50);
}

#[test]
fn list_of_latencies_that_no_gateway_makes_is_cut() {
    let mut load = Load::default();
    load.report(1, at(0), report("a", 0, 0, 0));
    let counts: Vec<_> = (0..10_000).map(|bucket| (bucket, 1)).collect();
    load.report(1, at(1), GatewaySessionRequest { latencies: latencies(&counts), ..report("a", 1, 0, 0) });
    assert_eq!(load.latency(at(0), at(60)).unwrap().answered, latency::BUCKETS as u64);
}

#[test]
fn totals_stay_exact_when_a_gateway_starts_again_comes_back_or_leaves() {
    let mut load = Load::default();
    let said = |enqueued, completed, late| GatewaySessionRequest {
        completed_total: completed,
        late_total: late,
        ..report("a", enqueued, enqueued - completed, 0)
    };
    let totals = |load: &Load, second| {
        let Arrivals { total, completed, late, .. } = load.arrivals(at(second));
        (total, completed, late)
    };
    load.report(1, at(0), said(100, 90, 9));
    load.report(1, at(1), said(110, 95, 10));
    assert_eq!(totals(&load, 1), (10, 5, 1));
    // Started again: all three count from zero, though one of them is more than it was.
    load.report(2, at(2), said(20, 18, 12));
    assert_eq!(totals(&load, 2), (30, 23, 13));
    // Away for a while, and what happened meanwhile counts.
    load.disconnect(2);
    load.observe(at(20));
    load.report(3, at(21), said(25, 25, 12));
    assert_eq!(totals(&load, 21), (35, 30, 13));
    // A second one leaves and the first goes on.
    load.report(4, at(21), GatewaySessionRequest { gateway_id: "b".to_owned(), ..said(5, 0, 0) });
    load.disconnect(4);
    load.report(3, at(60), said(26, 26, 12));
    assert_eq!(load.observe(at(61)).visible, 0);
    assert_eq!(totals(&load, 61), (36, 31, 13));
}

#[test]
fn arrivals_are_kept_for_a_day() {
    let mut load = Load::default();
    load.report(1, at(0), report("a", 7, 0, 0));
    load.report(1, at(1), report("a", 10, 0, 0));
    load.report(1, at(15), report("a", 12, 0, 0));
    let stretch = load.history().last(at(20), Duration::from_secs(60)).unwrap();
    assert_eq!((stretch.from, stretch.counts), (at(0), vec![3, 2]));
}

#[test]
fn queue_stands_in_until_all_gateways_have_reported() {
    let mut load = Load::default();
    let counts = |visible| Ok(Counts { visible, leased: 3, oldest_age: Duration::ZERO });
    load.estimated(at(0), counts(50));
    let queue = load.observe(at(1));
    assert_eq!((queue.visible, queue.in_flight, queue.as_of, queue.approximate), (50, 3, Some(at(0)), true));
    // The first gateway knows of ten; there may be others.
    load.report(1, at(2), report("a", 10, 10, 0));
    let queue = load.observe(at(3));
    assert_eq!((queue.visible, queue.approximate), (50, true));
    load.report(1, at(12), report("a", 10, 10, 4));
    let queue = load.observe(at(12));
    assert_eq!((queue.visible, queue.in_flight, queue.approximate), (6, 4, false));
    // Known exactly, a difference is only told.
    load.estimated(at(20), counts(500));
    load.report(1, at(80), report("a", 10, 10, 4));
    load.estimated(at(80), counts(500));
    assert_eq!(load.observe(at(80)).visible, 6);
    assert!(load.warnings()[0].contains("the queue counts 503 images and the gateways 10"));
    // They are all gone, and the queue is not.
    load.disconnect(1);
    load.estimated(at(110), counts(40));
    let queue = load.observe(at(110));
    assert_eq!((queue.visible, queue.approximate), (40, true));
}

#[test]
fn refused_image_is_work_that_somebody_wants_done() {
    let mut load = Load::default();
    let refused = |total| GatewaySessionRequest { refused_total: total, ..report("a", 10, 0, 0) };
    load.report(1, at(1), refused(0));
    assert_eq!(load.observe(at(1)).visible, 0);
    assert!(load.report(1, at(2), refused(3)), "worth a decision at once");
    assert_eq!((load.observe(at(2)).visible, load.arrivals(at(3)).total), (1, 3));
    assert_eq!(load.observe(at(12)).visible, 0, "who does not come back wants it no more");
}

#[test]
fn gateway_is_told_what_waits_at_the_others() {
    let mut load = Load::default();
    for (session, gateway, waiting) in [(1, "a", 5), (2, "b", 7), (3, "c", 1)] {
        load.report(session, at(1), report(gateway, 10, waiting, 0));
    }
    assert_eq!((load.waiting_elsewhere(1), load.waiting_elsewhere(2)), (8, 6));
    load.disconnect(3);
    assert_eq!(load.waiting_elsewhere(1), 7);
}
