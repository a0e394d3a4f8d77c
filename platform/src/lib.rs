//! What all services stand on. Knows nothing about decoding or classifying images.

pub mod error;
pub mod id;
pub mod options;
pub mod program;
pub mod queue;
pub mod retry;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod time;

pub use error::{Error, Kind, Result};
