//! The models that callers may name.

use std::sync::{PoisonError, RwLock};

use platform::{Error, Kind, Result};

/// What the options name and what workers have said they serve.
#[derive(Debug, Default)]
pub struct Models(RwLock<Vec<Model>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    pub version: String,
}

impl Models {
    /// `names` are NAME@VERSION, checked with the options.
    pub fn new(names: &[String]) -> Self {
        let models = names.iter().filter_map(|name| name.split_once('@'));
        let models =
            models.map(|(name, version)| Model { name: name.to_owned(), version: version.to_owned() });
        Self(RwLock::new(models.collect()))
    }

    /// A worker serves it. Known ones stay where they are; the first is the default.
    pub fn add(&self, name: &str, version: &str) {
        /// Workers are ours, but a list that grows for ever helps nobody.
        const MODELS_MAX: usize = 1000;
        let model = Model { name: name.to_owned(), version: version.to_owned() };
        let mut models = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !name.is_empty() && models.len() < MODELS_MAX && !models.contains(&model) {
            models.push(model);
        }
    }

    /// Whether `name` or `name@version` is served. Empty is the default model, always there.
    pub fn check(&self, asked: &str) -> Result<()> {
        let models = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let matches = |model: &Model| match asked.split_once('@') {
            Some((name, version)) => model.name == name && model.version == version,
            None => model.name == asked,
        };
        if asked.is_empty() || models.iter().any(matches) {
            return Ok(());
        }
        let known = models.iter().map(|model| format!("{}@{}", model.name, model.version));
        let known = known.collect::<Vec<_>>().join(", ");
        Err(Error::new(Kind::ModelNotFound, format!("no model {asked:?}; served here: {known}"))
            .with_resource("dunlin.v1.Model", asked))
    }

    /// NAME@VERSION of what the caller asks for: without a version the latest that a worker has said it serves. `None`
    /// while no model is known.
    pub fn resolve(&self, asked: &str) -> Option<String> {
        let models = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if asked.contains('@') {
            return Some(asked.to_owned());
        }
        let name = if asked.is_empty() { &models.first()?.name } else { asked };
        let latest = models.iter().rev().find(|model| model.name == name)?;
        Some(format!("{}@{}", latest.name, latest.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_found_by_name_and_by_version() {
        let models = Models::new(&["lite0@1".to_owned()]);
        models.add("lite0", "2");
        models.add("", "ignored");
        let check = |asked: &str, found: bool| assert_eq!(models.check(asked).is_ok(), found, "{asked:?}");
        check("", true);
        check("lite0", true);
        check("lite0@1", true);
        check("lite0@2", true);
        check("lite0@3", false);
        check("lite", false);
        check("@1", false);
    }

    #[test]
    fn model_without_a_version_is_the_latest() {
        let models = Models::default();
        assert_eq!(models.resolve(""), None);
        for (name, version) in [("lite0", "1"), ("other", "7"), ("lite0", "2")] {
            models.add(name, version);
        }
        let check = |asked: &str, want: &str| assert_eq!(models.resolve(asked).as_deref(), Some(want));
        check("", "lite0@2");
        check("other", "other@7");
        check("lite0@1", "lite0@1");
    }
}
