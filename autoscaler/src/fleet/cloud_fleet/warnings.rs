//! What a person should know of the cloud.

use std::time::Duration;

use super::CloudFleet;
use crate::fleet::cloud::Market;

impl CloudFleet {
    pub(super) fn what_is_wrong(&self) -> Vec<String> {
        let at = self.now();
        let state = self.state();
        let mut warnings: Vec<_> = state.last_boot_failure.iter().cloned().collect();
        let minutes = |until: Duration| (until.saturating_sub(at).as_secs_f64() / 60.0).ceil();
        for ((market, offering), until) in state.exhausted.iter().filter(|(_, until)| **until > at) {
            let spot = if *market == Market::Spot { "spot " } else { "" };
            warnings.push(format!("no {spot}capacity of {offering}; asked again in {} min", minutes(*until)));
        }
        let (start, launch) = (&state.budgets.start, &state.budgets.launch);
        for (what, budget) in [("starts", start), ("launches", launch), ("listings", &state.budgets.describe)]
        {
            if let Some(until) = budget.closed_until(at) {
                let wait = until.saturating_sub(at).as_secs_f64();
                warnings.push(format!("the cloud refuses {what}; next try in {wait:.0} s"));
            }
        }
        if state.hourly.left(at) == 0 {
            let most = self.options.starts_per_hour_max;
            warnings.push(format!("{most} starts in the last hour: no more, see --max-starts-per-hour"));
        }
        warnings
    }
}
