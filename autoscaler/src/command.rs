//! What operators may ask for: read and checked by the service, done by the control loop of whoever leads.

use std::{fmt, time::Duration};

use platform::{Error, Kind, Result};
use proto::v1;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    clock::timestamp,
    decide::{Override, Paused, Policy},
};

/// Commands that wait for the control loop. People give them, one by one.
const WAITING_MAX: usize = 16;

/// How long a command may take: the loop may be in the middle of calls to the cloud.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Pause(Paused),
    Resume,
    SetPolicy {
        policy: Box<Policy>,
        /// The version it is to replace; `None`: whichever.
        if_version: Option<u64>,
        dry_run: bool,
    },
    /// `None` takes back what was set before.
    SetOverride(Option<Override>),
    Drain {
        instance_id: String,
    },
}

/// Who asks, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Asker {
    /// Empty: it was not said.
    pub actor: String,
    pub reason: String,
}

/// A command on its way to the control loop.
#[derive(Debug)]
pub struct Order {
    pub command: Command,
    pub asker: Asker,
    /// The same for a repetition; empty: there is none.
    pub request_id: String,
    pub answer: oneshot::Sender<Result<Answer>>,
}

/// How things are once it is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done,
    Paused(v1::PauseInForce),
    Policy(Box<v1::Policy>),
    Override(Option<v1::OverrideInForce>),
    Instance(Box<v1::Instance>),
}

/// The way to the control loop.
#[derive(Debug)]
pub struct Orders(mpsc::Sender<Order>);

impl Orders {
    pub fn channel() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Hands a command over and waits for how it went.
    ///
    /// Dropped while it waits, the command is done all the same.
    pub async fn give(&self, command: Command, asker: Asker, request_id: String) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Order { command, asker, request_id, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Kind::QuotaExceeded, format!("{WAITING_MAX} commands are waiting already"))
                    .with_retry_after(Duration::from_secs(1))
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        match timeout(ANSWER_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(Error::new(
                Kind::DeadlineExceeded,
                "no answer yet: GetStatus and ListDecisions tell whether it was done",
            )),
        }
    }
}

fn stopping() -> Error {
    Error::new(Kind::ServiceUnavailable, "the autoscaler is stopping")
}

impl Asker {
    /// As it stands at the end of a trigger: ` by NAME: REASON`.
    pub fn words(&self) -> String {
        let by = if self.actor.is_empty() { String::new() } else { format!(" by {}", self.actor) };
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{by}{why}")
    }
}

/// What was asked for, in the words of a trigger.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause(paused) => {
                let what = match (paused.scale_out, paused.scale_in) {
                    (true, true) => "scaling",
                    (true, false) => "scale-out",
                    (false, _) => "scale-in",
                };
                write!(f, "pause {what}")?;
                paused.until.map_or(Ok(()), |until| write!(f, " until {}", timestamp(whole(until))))
            }
            Self::Resume => f.write_str("resume"),
            Self::SetPolicy { policy, .. } => write!(f, "set policy {}", policy.name()),
            Self::SetOverride(None) => f.write_str("take back the override"),
            Self::SetOverride(Some(asked)) => {
                f.write_str("override")?;
                let parts = [("min", asked.min), ("max", asked.max), ("exactly", asked.instances)];
                for (name, value) in parts {
                    if let Some(value) = value {
                        write!(f, " {name} {value}")?;
                    }
                }
                write!(f, " until {}", timestamp(whole(asked.until)))
            }
            Self::Drain { instance_id } => write!(f, "drain {instance_id}"),
        }
    }
}

/// Without the fraction of a second, which nobody reads.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_says_what_who_and_why() {
        let until = Duration::from_secs(1_800_000_000);
        let check = |command: Command, words: &str| assert_eq!(command.to_string(), words);
        let paused = Paused { scale_out: false, scale_in: true, until: Some(until) };
        check(Command::Pause(paused), "pause scale-in until 2027-01-15T08:00:00Z");
        check(Command::Pause(Paused { scale_out: true, until: None, ..paused }), "pause scaling");
        let asked = Override { min: Some(2), max: Some(5), instances: None, until };
        check(Command::SetOverride(Some(asked)), "override min 2 max 5 until 2027-01-15T08:00:00Z");
        check(Command::SetOverride(None), "take back the override");
        let asker = Asker { actor: "alice".to_owned(), reason: "maintenance".to_owned() };
        assert_eq!(asker.words(), " by alice: maintenance");
        assert_eq!(Asker::default().words(), "");
    }

    #[tokio::test]
    async fn more_commands_than_wait_are_refused_and_none_is_lost_in_silence() {
        let (orders, mut waiting) = Orders::channel();
        let give = || orders.give(Command::Resume, Asker::default(), String::new());
        let mut given = futures::future::join_all((0..=WAITING_MAX).map(|_| give()));
        let answers = tokio::select! {
            answers = &mut given => answers,
            () = async {
                while let Some(order) = waiting.recv().await {
                    let _ = order.answer.send(Ok(Answer::Done));
                }
            } => Vec::new(),
        };
        let kinds: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_err(Error::kind)).collect();
        assert_eq!(kinds.iter().filter(|kind| kind.is_ok()).count(), WAITING_MAX);
        assert_eq!(kinds.last().unwrap().unwrap_err(), Kind::QuotaExceeded);
        drop(waiting);
        assert_eq!(give().await.unwrap_err().kind(), Kind::ServiceUnavailable);
    }
}
