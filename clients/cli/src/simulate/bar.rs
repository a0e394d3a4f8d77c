//! The progress of `dunlin simulate`, on a terminal's standard error.

use autoscaler::simulate::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How many runs are done, of those planned so far.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(look) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {msg} {eta}") {
            bar.set_style(look);
        }
        Self(bar)
    }

    /// What is being tried now.
    pub(super) fn name(&self, scenario: &str) {
        self.0.set_message(scenario.to_owned());
    }

    /// Lets something be printed without the bar in between.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn planned(&self, runs: u64) {
        self.0.inc_length(runs);
    }

    fn done(&self) {
        self.0.inc(1);
    }
}
