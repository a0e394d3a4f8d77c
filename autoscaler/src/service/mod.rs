//! What the autoscaler serves: to people and programs, and to our own gateways and workers.

mod autoscaler;
mod commands;
mod control;
mod keda;
mod stream;

pub use autoscaler::AutoscalerApi;
pub use control::ControlApi;
pub use keda::KedaApi;
