//! What was asked of whoever scales an external fleet, and has not happened yet: workers on their way count as starting, and
//! workers that are one too many count as draining, whichever of them is picked.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use crate::decide::{Action, ActionKind, Instance, InstanceState};

/// A worker that has not come by then is asked for again; or by twice the slowest, where that is longer. A pod may wait for a
/// node to be added.
const COMING_LIMIT_MIN: Duration = Duration::from_secs(120);

/// Times that the measured one is the median of.
const BOOTS: usize = 21;

#[derive(Debug, Default)]
pub struct Asked {
    /// Oldest first.
    coming: VecDeque<Coming>,
    /// Who would go if it were ours to say.
    leaving: BTreeSet<String>,
    /// The workers at the last look.
    known: BTreeSet<String>,
    boots: VecDeque<Duration>,
    /// How many never came, of those asked for last.
    missing: u32,
    /// Names given so far.
    named: u64,
}

#[derive(Debug)]
struct Coming {
    /// A name until it has one of its own.
    instance_id: String,
    since: Duration,
    /// It was there before we were, and only has to find us.
    resumed: bool,
}

impl Asked {
    /// We have just begun: as many as were wanted last are there, or will be.
    pub fn resume(&mut self, at: Duration, wanted: u32) {
        (self.coming, self.leaving) = (VecDeque::new(), BTreeSet::new());
        for _ in self.known.len()..wanted as usize {
            self.expect(at, true);
        }
    }

    /// Takes in which workers there are. One that comes is one that was asked for, and one that goes is one that was to go.
    pub fn look(&mut self, at: Duration, workers: &[Instance]) {
        let works = |worker: &&Instance| worker.state == InstanceState::Ready;
        let now: BTreeSet<String> =
            workers.iter().filter(works).map(|worker| worker.instance_id.to_string()).collect();
        for _ in now.difference(&self.known) {
            let Some(came) = self.coming.pop_front() else { break };
            self.missing = 0;
            if !came.resumed {
                self.boots.push_back(at.saturating_sub(came.since));
                self.boots.drain(..self.boots.len().saturating_sub(BOOTS));
            }
        }
        for gone in self.known.difference(&now) {
            if !self.leaving.remove(gone) {
                self.leaving.pop_last();
            }
        }
        self.known = now;
        let limit = COMING_LIMIT_MIN.max(self.boots.iter().max().copied().unwrap_or_default() * 2);
        while self.coming.front().is_some_and(|one| at.saturating_sub(one.since) > limit) {
            self.coming.pop_front();
            self.missing += 1;
        }
    }

    /// The workers as they will be once what was asked has happened.
    pub fn show(&self, workers: &mut Vec<Instance>) {
        for worker in workers.iter_mut() {
            // Nobody else decides how many there should be.
            worker.owned = true;
            if worker.state == InstanceState::Ready && self.leaving.contains(&*worker.instance_id) {
                worker.state = InstanceState::Draining;
            }
        }
        workers.extend(self.coming.iter().map(Coming::shown));
        workers.sort_by(|one, other| one.instance_id.cmp(&other.instance_id));
    }

    /// Asks for it.
    pub fn ask(&mut self, at: Duration, actions: &[Action]) {
        for action in actions {
            match action.kind {
                ActionKind::Launch | ActionKind::Start => self.expect(at, false),
                ActionKind::Drain => {
                    let named = self.coming.iter().position(|one| *one.instance_id == *action.instance_id);
                    match named {
                        Some(place) => drop(self.coming.remove(place)),
                        None => drop(self.leaving.insert(action.instance_id.to_string())),
                    }
                }
                ActionKind::Undrain => drop(self.leaving.remove(&*action.instance_id)),
                // There is never one that we stopped.
                ActionKind::Stop | ActionKind::Terminate => {}
            }
        }
    }

    /// How long it takes from asking until a worker registers, once measured: with the poll of whoever scales in it.
    pub fn boot(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.boots.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// When the next one that was asked for should be there, and when all of them.
    pub fn ready_times(&self, at: Duration, boot: Duration) -> Option<(Duration, Duration)> {
        let due = |coming: &Coming| (coming.since + boot).max(at);
        Some((due(self.coming.front()?), due(self.coming.back()?)))
    }

    pub fn warning(&self) -> Option<String> {
        let missing = self.missing;
        (missing > 0).then(|| {
            format!("{missing} workers that were asked for never came: is there room for them, and does anybody ask us?")
        })
    }

    fn expect(&mut self, at: Duration, resumed: bool) {
        self.named += 1;
        self.coming.push_back(Coming { instance_id: format!("asked-{:06}", self.named), since: at, resumed });
    }
}

impl Coming {
    fn shown(&self) -> Instance {
        Instance {
            instance_id: self.instance_id.as_str().into(),
            state: InstanceState::Starting,
            since: self.since,
            cold: false,
            paid_until: Duration::ZERO,
            busy_slots: 0,
            owned: true,
            given_up: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn workers(names: &[&str]) -> Vec<Instance> {
        let worker = |name: &&str| Instance {
            state: InstanceState::Ready,
            owned: false,
            ..Coming { instance_id: (*name).to_owned(), since: at(0), resumed: false }.shown()
        };
        names.iter().map(worker).collect()
    }

    fn actions(kind: ActionKind, names: &[&str]) -> Vec<Action> {
        names.iter().map(|name| Action { kind, instance_id: (*name).into() }).collect()
    }

    /// The states of what `decide` would be shown.
    fn shown(asked: &Asked, names: &[&str]) -> Vec<InstanceState> {
        let mut instances = workers(names);
        asked.show(&mut instances);
        assert!(instances.iter().all(|instance| instance.owned));
        instances.iter().map(|instance| instance.state).collect()
    }

    use InstanceState::{Draining, Ready, Starting};

    #[test]
    fn worker_that_comes_is_one_that_was_asked_for() {
        let mut asked = Asked::default();
        asked.ask(at(0), &actions(ActionKind::Launch, &["", ""]));
        assert_eq!(shown(&asked, &[]), [Starting, Starting]);
        assert_eq!(asked.ready_times(at(5), Duration::from_secs(20)), Some((at(20), at(20))));
        asked.look(at(12), &workers(&["pod-a"]));
        assert_eq!(shown(&asked, &["pod-a"]), [Starting, Ready]);
        assert_eq!(asked.boot(), Some(Duration::from_secs(12)));
    }

    #[test]
    fn whoever_goes_is_the_one_that_was_to_go() {
        let mut asked = Asked::default();
        let three = ["pod-a", "pod-b", "pod-c"];
        asked.look(at(0), &workers(&three));
        asked.ask(at(1), &actions(ActionKind::Drain, &["pod-a"]));
        assert_eq!(shown(&asked, &three), [Draining, Ready, Ready]);
        asked.look(at(2), &workers(&["pod-a", "pod-c"]));
        assert_eq!(shown(&asked, &["pod-a", "pod-c"]), [Ready, Ready]);
    }

    #[test]
    fn what_was_asked_is_taken_back() {
        let mut asked = Asked::default();
        asked.look(at(0), &workers(&["pod-a"]));
        asked.ask(at(0), &actions(ActionKind::Drain, &["pod-a"]));
        asked.ask(at(1), &actions(ActionKind::Undrain, &["pod-a"]));
        asked.ask(at(2), &actions(ActionKind::Launch, &[""]));
        asked.ask(at(3), &actions(ActionKind::Drain, &["asked-000001"]));
        assert_eq!(shown(&asked, &["pod-a"]), [Ready]);
    }

    #[test]
    fn worker_that_never_comes_is_not_counted_for_ever_and_told() {
        let mut asked = Asked::default();
        asked.ask(at(0), &actions(ActionKind::Launch, &[""]));
        asked.look(at(120), &[]);
        assert_eq!((shown(&asked, &[]), asked.warning()), (vec![Starting], None));
        asked.look(at(121), &[]);
        assert!(shown(&asked, &[]).is_empty() && asked.warning().unwrap().contains("1 workers"));
    }

    #[test]
    fn after_a_restart_as_many_as_were_wanted_are_there() {
        let mut asked = Asked::default();
        asked.resume(at(0), 2);
        assert_eq!(shown(&asked, &[]), [Starting, Starting]);
        asked.look(at(3), &workers(&["pod-a", "pod-b"]));
        assert_eq!(shown(&asked, &["pod-a", "pod-b"]), [Ready, Ready]);
        assert_eq!(asked.boot(), None, "they were there already");
    }
}
