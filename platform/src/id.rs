//! Identifiers that sort by the time they were made.

/// A new ULID: 26 characters, unique without asking anyone, ordered by time (to a millisecond).
pub fn new() -> String {
    ulid::Ulid::generate().to_string()
}
