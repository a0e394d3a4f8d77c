//! The few calls to a cloud that the fleet makes, with plain types: what EC2 answers, not what we make of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

#[cfg(feature = "ec2")]
pub mod ec2;

/// Tag of every instance that is ours to start and stop. Its value is the fleet's name.
pub const FLEET_TAG: &str = "dunlin:fleet";

/// One account and region, as far as one fleet's instances go.
///
/// Every call may fail as a whole and says so; none of them waits for an instance to get anywhere.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// Every instance with the fleet's tag, terminated ones as long as the cloud shows them. Lags behind what was done
    /// by some seconds.
    async fn describe(&self) -> Result<Vec<CloudInstance>>;

    /// Instances by their ids, whatever their tags: for `adopt`.
    async fn find(&self, instance_ids: &[String]) -> Result<Vec<CloudInstance>>;

    /// Starts stopped ones; for one that runs already nothing happens. One wrong id fails the whole call.
    async fn start(&self, instance_ids: &[String]) -> Result<()>;

    /// Stops them; for a stopped one nothing happens. One wrong id fails the whole call.
    async fn stop(&self, instance_ids: &[String]) -> Result<()>;

    /// Ends them for good, whatever they do. Twice is fine. One wrong id fails the whole call.
    async fn terminate(&self, instance_ids: &[String]) -> Result<()>;

    /// Makes up to `count` new instances. The same order again gives the same instances; another one under the same
    /// token is an error.
    async fn launch(&self, order: &LaunchOrder) -> Result<Launched>;

    /// The last of what the instance wrote to its console; empty when there is nothing yet.
    async fn console_output(&self, instance_id: &str) -> Result<String>;

    /// Sets tags, and leaves others alone.
    async fn tag(&self, instance_ids: &[String], tags: &Tags) -> Result<()>;
}

pub type Tags = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInstance {
    pub instance_id: String,
    pub state: CloudState,
    pub instance_type: String,
    pub zone: String,
    pub spot: bool,
    /// When it was last started, since the Unix epoch.
    pub launch_time: Duration,
    pub tags: Tags,
    /// Why it is in its state, in the cloud's words; empty when nothing special happened.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchOrder {
    pub count: u32,
    /// Up to 64 ASCII characters.
    pub client_token: String,
    pub market: Market,
    /// Where the new ones may come from; empty: what the template says.
    pub offerings: Vec<Offering>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Market {
    OnDemand,
    Spot,
}

/// A kind of instance in a place. A part that is not set is as in the template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offering {
    pub instance_type: Option<String>,
    pub subnet: Option<String>,
}

impl fmt::Display for Offering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.instance_type, &self.subnet) {
            (None, None) => f.write_str("the template's type and subnet"),
            (Some(instance_type), None) => f.write_str(instance_type),
            (None, Some(subnet)) => f.write_str(subnet),
            (Some(instance_type), Some(subnet)) => write!(f, "{instance_type} in {subnet}"),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// As many as could be had; none is not an error.
    pub instance_ids: Vec<String>,
    /// What there was not enough of.
    pub exhausted: Vec<Offering>,
}

pub type Result<T, E = CloudError> = std::result::Result<T, E>;

/// Why a call failed, as far as the fleet acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    pub kind: CloudErrorKind,
    /// A sentence with what the cloud said.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudErrorKind {
    /// Too many calls: later.
    Throttled,
    /// The account or the place has no more instances.
    NoCapacity,
    /// One of the ids is unknown.
    NotFound,
    /// One of the instances is in a state that the call is not made for.
    WrongState,
    /// The client token belongs to another order.
    TokenMismatch,
    /// We may not, or what the call names is not there: a person has to act.
    Denied,
    /// No answer: it may have been done.
    Unclear,
    Other,
}

impl CloudError {
    pub fn new(kind: CloudErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CloudError {}
