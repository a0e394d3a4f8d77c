//! The embedded gateway's queue, seen from a worker process.
