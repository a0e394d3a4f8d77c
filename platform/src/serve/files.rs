//! Each connection is an open file, and shells allow a process 1,024 of them unless it asks for more.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Asks for as many open files as we may have. Without it the gateway would stop accepting at about
/// a thousand callers.
pub fn allow_many_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "allow as many open files as the system does");
    }
}
