//! The queue of one process.
