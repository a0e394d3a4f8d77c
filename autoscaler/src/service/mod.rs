//! What the autoscaler serves: to people and programs, and to our own gateways and workers.

mod autoscaler;
mod commands;
mod control;
mod keda;
mod simulate;
mod stream;
mod watch;

pub use autoscaler::{AutoscalerApi, Desk};
pub use control::ControlApi;
pub use keda::KedaApi;
