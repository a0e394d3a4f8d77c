//! New instances: spot as far as wanted and to be had, on demand for the rest.

use std::time::Duration;

use super::{CloudFleet, EXHAUSTED_FOR, sight::LAG};
use crate::fleet::{
    Failure, FailureKind, Launch, Launched,
    cloud::{self, CloudErrorKind, FLEET_TAG, LaunchOrder, Market, Offering, Tags},
};

/// Which decision an instance comes from.
pub(super) const DECISION_TAG: &str = "dunlin:decision";
pub(super) const ROLE_TAG: &str = "dunlin:role";
pub(super) const WORKER_ROLE: &str = "worker";

/// A call without an answer is tried again under its token: it makes no more instances.
const ATTEMPTS_MAX: u32 = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// One call of an order.
struct Part {
    count: u32,
    market: Market,
    /// Makes the token of this call different from the others'.
    suffix: &'static str,
}

impl CloudFleet {
    /// The offerings that launches may come from, in the order they were given.
    pub(super) fn offerings(&self) -> Vec<Offering> {
        let each = |values: &[String]| -> Vec<Option<String>> {
            if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
        };
        let subnets = each(&self.options.subnets);
        let types = each(&self.options.instance_types);
        let of_type = |instance_type: Option<String>| {
            let subnets = subnets.clone();
            subnets.into_iter().map(move |subnet| Offering { instance_type: instance_type.clone(), subnet })
        };
        types.into_iter().flat_map(of_type).collect()
    }

    pub(super) async fn launch_all(&self, order: &Launch) -> Launched {
        if let Some(failure) = self.hold_back(order.count) {
            return Launched { instance_ids: Vec::new(), failure: Some(failure) };
        }
        let mut launched = Launched::default();
        let spot = (order.count * self.options.spot_percent + 50) / 100;
        let mut parts = vec![
            Part { count: order.count - spot, market: Market::OnDemand, suffix: "-d" },
            Part { count: spot, market: Market::Spot, suffix: "-s" },
        ];
        while let Some(part) = parts.pop().filter(|_| launched.failure.is_none()) {
            if part.count == 0 {
                continue;
            }
            match self.launch_part(order, &part).await {
                Ok(instance_ids) => {
                    let had = u32::try_from(instance_ids.len()).unwrap_or(u32::MAX);
                    let missing = part.count.saturating_sub(had);
                    launched.instance_ids.extend(instance_ids);
                    match part.market {
                        Market::Spot => {
                            parts.push(Part { count: missing, market: Market::OnDemand, suffix: "-f" });
                        }
                        Market::OnDemand if missing > 0 => launched.failure = Some(no_capacity()),
                        Market::OnDemand => {}
                    }
                }
                Err(failure) => launched.failure = Some(failure),
            }
        }
        launched
    }

    /// Takes the whole order from the budgets, or says why not.
    fn hold_back(&self, count: u32) -> Option<Failure> {
        let at = self.now();
        let mut state = self.state();
        let held = |error: &str| Some(Failure::new(FailureKind::Throttled, error));
        if at < state.launches_held_until {
            return held("an earlier launch may have made instances that are not listed yet");
        }
        if state.hourly.left(at) < count {
            return held("the starts of this hour are used up");
        }
        if state.budgets.launch.tokens(at) < f64::from(count) {
            return held("launches are held back for the cloud's limits");
        }
        state.budgets.launch.take(at, count);
        state.hourly.add(at, count);
        None
    }

    async fn launch_part(&self, order: &Launch, part: &Part) -> Result<Vec<String>, Failure> {
        let at = self.now();
        let known = self.offerings();
        let mut offerings = known.clone();
        // What spot lacks, on demand may have: each market has its own memory.
        offerings.retain(|offering| !self.state().is_exhausted(part.market, offering, at));
        if offerings.is_empty() {
            return if part.market == Market::Spot { Ok(Vec::new()) } else { Err(no_capacity()) };
        }
        if known == [Offering::default()] {
            offerings.clear();
        }
        let tags = [
            (FLEET_TAG, self.options.fleet.as_str()),
            (ROLE_TAG, WORKER_ROLE),
            (DECISION_TAG, order.decision_id.as_str()),
        ];
        let order = LaunchOrder {
            count: part.count,
            client_token: format!("{}{}", order.client_token, part.suffix),
            market: part.market,
            offerings,
            tags: tags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<Tags>(),
        };
        let answer = self.ask(&order).await;
        let at = self.now();
        let mut state = self.state();
        match answer {
            Ok(answer) => {
                state.budgets.launch.accepted();
                for offering in answer.exhausted {
                    tracing::warn!(%offering, market = ?part.market, "no capacity");
                    state.exhausted.insert((part.market, offering), at + EXHAUSTED_FOR);
                }
                for instance_id in &answer.instance_ids {
                    state.sight.launched(instance_id, part.market == Market::Spot, at);
                }
                Ok(answer.instance_ids)
            }
            Err(error) => {
                match error.kind {
                    CloudErrorKind::Throttled => state.budgets.launch.refused(at),
                    CloudErrorKind::NoCapacity => {
                        for offering in known {
                            state.exhausted.insert((part.market, offering), at + EXHAUSTED_FOR);
                        }
                        if part.market == Market::Spot {
                            return Ok(Vec::new());
                        }
                    }
                    // It was done, now or before, and its instances show within the lag.
                    CloudErrorKind::TokenMismatch | CloudErrorKind::Unclear => {
                        state.launches_held_until = at + LAG;
                    }
                    CloudErrorKind::NotFound
                    | CloudErrorKind::WrongState
                    | CloudErrorKind::Denied
                    | CloudErrorKind::Other => {}
                }
                Err(error.into())
            }
        }
    }

    async fn ask(&self, order: &LaunchOrder) -> cloud::Result<cloud::Launched> {
        let mut attempt = 1;
        loop {
            match self.cloud.launch(order).await {
                Err(error) if error.kind == CloudErrorKind::Unclear && attempt < ATTEMPTS_MAX => {
                    tracing::warn!(%error, attempt, "launch again under the same token");
                    attempt += 1;
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}

fn no_capacity() -> Failure {
    Failure::new(FailureKind::NoCapacity, "the cloud has no more instances of the kinds that may be used")
}
