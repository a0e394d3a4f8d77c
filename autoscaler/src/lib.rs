//! Starts and stops workers with the load, and can say why.

pub mod decide;
