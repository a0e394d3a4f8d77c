//! Names for the instances we made, so that people can tell them apart: a prefix and the lowest free number.

use std::collections::BTreeSet;

use super::{CloudFleet, launch::DECISION_TAG};
use crate::fleet::cloud::{CloudInstance, Tags};

const NAME_TAG: &str = "Name";

/// Names given at one time: each is a call, and none of them is urgent.
const NAMES_AT_ONCE: usize = 10;

impl CloudFleet {
    /// Names what we made and has no name of ours. What was adopted keeps its own.
    pub(super) async fn give_names(&self) {
        for (instance_id, number) in self.unnamed() {
            let name = format!("{}{number}", self.options.name_prefix);
            let tags = Tags::from([(NAME_TAG.to_owned(), name)]);
            if let Err(error) = self.cloud.tag(std::slice::from_ref(&instance_id), &tags).await {
                tracing::warn!(%error, instance_id, "name instance");
                return;
            }
            self.state().names.insert(instance_id, number);
        }
    }

    fn unnamed(&self) -> Vec<(String, u32)> {
        let prefix = &self.options.name_prefix;
        let at = self.now();
        let mut state = self.state();
        let number = |instance: &CloudInstance| -> Option<u32> {
            instance.tags.get(NAME_TAG)?.strip_prefix(prefix.as_str())?.parse().ok()
        };
        let listed: BTreeSet<_> = state.sight.instances().map(|one| one.instance_id.clone()).collect();
        state.names.retain(|instance_id, _| listed.contains(instance_id));
        let mut taken: BTreeSet<u32> = state.sight.instances().filter_map(number).collect();
        taken.extend(state.names.values());
        let made_by_us = |one: &&CloudInstance| one.tags.contains_key(DECISION_TAG) && number(one).is_none();
        let unnamed: Vec<_> = state
            .sight
            .instances()
            .filter(made_by_us)
            .map(|one| one.instance_id.clone())
            .filter(|instance_id| !state.names.contains_key(instance_id))
            .take(NAMES_AT_ONCE)
            .collect();
        let allowed = state.budgets.other.take(at, u32::try_from(unnamed.len()).unwrap_or(0));
        let free = (1..).filter(|number| !taken.contains(number));
        unnamed.into_iter().zip(free).take(allowed as usize).collect()
    }
}
