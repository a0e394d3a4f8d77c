//! What stands in for the drivers of AWS in a program that is built without them: it refuses to start.

use std::sync::Arc;

use platform::{Error, Kind, Result};

use crate::core::Core;

pub enum ReplyQueue {}

impl ReplyQueue {
    pub async fn create(_beside: &str) -> Result<Self> {
        Err(Error::new(
            Kind::Config,
            "--reply-by queue: this program was built without AWS; the gateway program has it",
        ))
    }

    pub fn url(&self) -> &str {
        match *self {}
    }

    pub async fn run(&self, _core: &Arc<Core>) {
        match *self {}
    }

    pub async fn remove(&self) {
        match *self {}
    }
}
