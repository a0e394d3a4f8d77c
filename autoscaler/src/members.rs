//! The workers that have registered, and what each of them has been asked and has answered.

use std::{collections::BTreeMap, time::Duration};

use platform::{Error, Kind, Result};
use proto::{internal::v1::WorkerHeartbeat, v1::SkippedImages};
use tokio::sync::watch;

use crate::decide::Service;

/// What we want of a worker. Its session tells it whenever this changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Take images. With the decision that took a drain back, if one did.
    Work { decision_id: String },
    /// Finish and take nothing new.
    Drain { decision_id: String },
}

/// What is known of one worker. It begins when its instance is started or, for one that somebody
/// else started, when it registers; it ends with the instance.
#[derive(Debug)]
pub struct Member {
    session: Option<u64>,
    wish: watch::Sender<Wish>,
    /// When it first registered.
    pub registered: Option<Duration>,
    /// When it was last heard of.
    pub heard: Duration,
    pub heartbeat: WorkerHeartbeat,
    pub drained: bool,
    /// It goes, and is not to be told to stay: its machine is taken away, or it had drained before
    /// it heard that it should stay.
    pub leaving: bool,
}

/// More workers than a fleet has; a client that makes up a new name each time stops here.
const MEMBERS_MAX: usize = 20_000;

/// What is taken for the time of one image until a worker has measured it. Too long rather than too
/// short: one worker more at the first burst is better than one too few.
const SERVICE_PRIOR: Duration = Duration::from_secs(1);

const NOT_MEASURED: Service = Service { mean: SERVICE_PRIOR, p95: SERVICE_PRIOR, slots: 1.0 };

#[derive(Debug)]
pub struct Members {
    members: BTreeMap<String, Member>,
    sessions: u64,
    service: Service,
    /// By all workers, also those that are gone.
    skipped: SkippedImages,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            sessions: 0,
            service: NOT_MEASURED,
            skipped: SkippedImages::default(),
        }
    }
}

impl Members {
    /// A worker has said hello. A second session of the same instance ends the first: the worker
    /// came back before we noticed that it was gone.
    pub fn connect(&mut self, instance_id: &str, at: Duration) -> Result<(u64, watch::Receiver<Wish>)> {
        if !self.members.contains_key(instance_id) && self.members.len() >= MEMBERS_MAX {
            return Err(Error::new(
                Kind::QuotaExceeded,
                format!("{MEMBERS_MAX} workers are registered already"),
            ));
        }
        self.sessions += 1;
        let session = self.sessions;
        let member = self.expect(instance_id, at);
        let wish = member.wish.borrow().clone();
        let (sender, receiver) = watch::channel(wish);
        member.wish = sender;
        // It starts a session able to work, whatever it said in the last one.
        member.drained = false;
        member.registered.get_or_insert(at);
        member.heard = at;
        member.session = Some(session);
        Ok((session, receiver))
    }

    pub fn disconnect(&mut self, instance_id: &str, session: u64) {
        if let Some(member) = self.of(instance_id, session) {
            member.session = None;
        }
    }

    pub fn heartbeat(&mut self, instance_id: &str, session: u64, at: Duration, heartbeat: WorkerHeartbeat) {
        let Some(member) = self.of(instance_id, session) else { return };
        member.heard = at;
        let before = member.heartbeat.skipped.unwrap_or_default();
        let now = heartbeat.skipped.unwrap_or_default();
        member.heartbeat = heartbeat;
        // A count that went back is a worker that started again.
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        self.skipped.cancelled += grown(now.cancelled, before.cancelled);
        self.skipped.expired += grown(now.expired, before.expired);
    }

    /// The worker confirms a drain. A confirmation of one that was taken back means that the
    /// worker finished before it heard so: it is asked again, and may not stay.
    pub fn drained(&mut self, instance_id: &str, session: u64, at: Duration, decision_id: &str) {
        let Some(member) = self.of(instance_id, session) else { return };
        member.heard = at;
        if matches!(&*member.wish.borrow(), Wish::Drain { decision_id: asked } if asked == decision_id) {
            member.drained = true;
            return;
        }
        member.leaving = true;
        member.wish.send_replace(Wish::Drain { decision_id: decision_id.to_owned() });
    }

    /// The machine will be taken away: finish, and do not come back.
    pub fn leave(&mut self, instance_id: &str, session: u64) {
        if let Some(member) = self.of(instance_id, session) {
            member.leaving = true;
            member.ask_to_drain("");
        }
    }

    /// It drains for good: it may finish, and is not to be told to stay again.
    pub fn retire(&mut self, instance_id: &str, at: Duration, decision_id: &str) {
        let member = self.expect(instance_id, at);
        member.leaving = true;
        member.ask_to_drain(decision_id);
    }

    pub fn drain(&mut self, instance_id: &str, at: Duration, decision_id: &str) {
        self.expect(instance_id, at).ask_to_drain(decision_id);
    }

    /// Asks every worker to finish.
    pub fn drain_all(&mut self) {
        for member in self.members.values_mut() {
            member.leaving = true;
            member.ask_to_drain("");
        }
    }

    /// Takes a drain back. False when it is too late: the worker has confirmed it already.
    pub fn undrain(&mut self, instance_id: &str, decision_id: &str) -> bool {
        let Some(member) = self.members.get_mut(instance_id) else { return false };
        if member.drained || member.leaving {
            return false;
        }
        member.wish.send_replace(Wish::Work { decision_id: decision_id.to_owned() });
        true
    }

    /// The instance is starting: what was known of its last worker is void.
    pub fn begin(&mut self, instance_id: &str, at: Duration) {
        self.members.remove(instance_id);
        self.expect(instance_id, at);
    }

    pub fn forget(&mut self, instance_id: &str) {
        self.members.remove(instance_id);
    }

    pub fn get(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(instance_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    /// The mean over the workers that have measured; with none of those there, what was last known.
    pub fn service(&mut self) -> Service {
        let measured = |member: &&Member| member.session.is_some() && member.mean().is_some();
        let members: Vec<_> = self.members.values().filter(measured).collect();
        if !members.is_empty() {
            let count = members.len() as f64;
            let mean_of =
                |value: fn(&Member) -> f64| members.iter().map(|member| value(member)).sum::<f64>() / count;
            let mean = mean_of(|member| member.mean().unwrap_or_default().as_secs_f64());
            let p95 = mean_of(|member| member.p95().as_secs_f64());
            self.service = Service {
                mean: Duration::from_secs_f64(mean),
                p95: Duration::from_secs_f64(p95),
                slots: mean_of(|member| f64::from(member.heartbeat.slots.max(1))),
            };
        }
        self.service
    }

    /// Images a second of one worker, as last measured; `None` until one was.
    pub fn measured_rate(&mut self) -> Option<f64> {
        let service = self.service();
        (service != NOT_MEASURED).then(|| service.rate())
    }

    /// Images that workers did not classify because nobody waited any more, since we started.
    pub fn skipped(&self) -> SkippedImages {
        self.skipped
    }

    /// What an earlier leader measured, until somebody measures again.
    pub fn take_up(&mut self, service: Service) {
        self.service = service;
    }

    fn of(&mut self, instance_id: &str, session: u64) -> Option<&mut Member> {
        self.members.get_mut(instance_id).filter(|member| member.session == Some(session))
    }

    fn expect(&mut self, instance_id: &str, at: Duration) -> &mut Member {
        self.members.entry(instance_id.to_owned()).or_insert_with(|| Member {
            session: None,
            wish: watch::Sender::new(Wish::Work { decision_id: String::new() }),
            registered: None,
            heard: at,
            heartbeat: WorkerHeartbeat::default(),
            drained: false,
            leaving: false,
        })
    }
}

impl Member {
    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    pub fn is_draining(&self) -> bool {
        matches!(&*self.wish.borrow(), Wish::Drain { .. })
    }

    /// Images a second, once measured.
    pub fn rate(&self) -> Option<f64> {
        Some(f64::from(self.heartbeat.slots.max(1)) / self.mean()?.as_secs_f64())
    }

    fn mean(&self) -> Option<Duration> {
        /// Under this a rate would be made of rounding.
        const SHORTEST: Duration = Duration::from_micros(1);
        platform::time::from_proto(self.heartbeat.service_mean.as_ref()).map(|mean| mean.max(SHORTEST))
    }

    fn p95(&self) -> Duration {
        let mean = self.mean().unwrap_or_default();
        platform::time::from_proto(self.heartbeat.service_p95.as_ref()).unwrap_or(mean).max(mean)
    }

    fn ask_to_drain(&mut self, decision_id: &str) {
        if !self.is_draining() {
            self.wish.send_replace(Wish::Drain { decision_id: decision_id.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn drain_is_confirmed_only_by_its_own_decision() {
        let mut members = Members::default();
        let (session, wish) = members.connect("local-1", NOW).unwrap();
        members.drain("local-1", NOW, "first");
        assert_eq!(*wish.borrow(), Wish::Drain { decision_id: "first".to_owned() });
        members.drained("local-1", session, NOW, "first");
        assert!(members.get("local-1").unwrap().drained);
        assert!(!members.undrain("local-1", "second"));
    }

    #[test]
    fn worker_that_drained_before_it_heard_to_stay_is_asked_again() {
        let mut members = Members::default();
        let (session, wish) = members.connect("local-1", NOW).unwrap();
        members.drain("local-1", NOW, "first");
        assert!(members.undrain("local-1", "second"));
        members.drained("local-1", session, NOW, "first");
        let member = members.get("local-1").unwrap();
        assert!(!member.drained && member.leaving && member.is_draining());
        assert_eq!(*wish.borrow(), Wish::Drain { decision_id: "first".to_owned() });
        members.drained("local-1", session, NOW, "first");
        assert!(members.get("local-1").unwrap().drained);
    }

    #[test]
    fn newer_session_takes_the_place_of_the_older() {
        let mut members = Members::default();
        let (first, wish) = members.connect("local-1", NOW).unwrap();
        let (_second, _) = members.connect("local-1", NOW).unwrap();
        assert!(wish.has_changed().is_err());
        members.disconnect("local-1", first);
        assert!(members.get("local-1").unwrap().is_connected());
    }

    #[test]
    fn service_time_outlives_the_workers_that_measured_it() {
        let mut members = Members::default();
        assert_eq!(members.service().mean, SERVICE_PRIOR);
        assert_eq!(members.measured_rate(), None);
        let (session, _) = members.connect("local-1", NOW).unwrap();
        let heartbeat = WorkerHeartbeat {
            slots: 2,
            service_mean: Some(platform::time::to_proto(Duration::from_millis(20))),
            ..WorkerHeartbeat::default()
        };
        members.heartbeat("local-1", session, NOW, heartbeat);
        assert!((members.service().rate() - 100.0).abs() < 1e-6);
        members.forget("local-1");
        assert!((members.service().rate() - 100.0).abs() < 1e-6);
        assert!(members.measured_rate().is_some());
    }

    #[test]
    fn skips_are_added_up_over_workers_that_come_and_go() {
        let mut members = Members::default();
        let mut say = |instance_id: &str, cancelled, expired| {
            let (session, _) = members.connect(instance_id, NOW).unwrap();
            let skipped = Some(SkippedImages { cancelled, expired });
            let heartbeat = WorkerHeartbeat { skipped, ..WorkerHeartbeat::default() };
            members.heartbeat(instance_id, session, NOW, heartbeat);
            members.skipped()
        };
        let check = |found: SkippedImages, cancelled, expired| {
            assert_eq!(found, SkippedImages { cancelled, expired });
        };
        check(say("local-1", 2, 1), 2, 1);
        check(say("local-2", 5, 0), 7, 1);
        check(say("local-1", 3, 1), 8, 1);
        // It started again.
        check(say("local-1", 1, 1), 9, 1);
        members.forget("local-1");
        check(members.skipped(), 9, 1);
    }
}
