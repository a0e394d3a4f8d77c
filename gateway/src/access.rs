//! What the requests over HTTP need; those over gRPC have their tables in `platform::auth::methods`.

use axum::http::Method;
use platform::auth::{Charge, Need, Scope};

/// Pages and what load balancers ask have no key; whatever is sent is taken for an image; the rest, also what is added
/// later and forgotten here, needs a key of scope `admin`.
pub fn need(method: &Method, path: &str) -> Need {
    match (method.as_str(), path) {
        ("GET" | "HEAD", "/" | "/healthz" | "/readyz" | "/favicon.ico") => Need::Nothing,
        ("GET" | "HEAD", _) if path.starts_with("/assets/") => Need::Nothing,
        ("POST", _) => Need::key(Scope::Classify, Charge::Call),
        _ => Need::key(Scope::Admin, Charge::Call),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_needs_classify_and_what_is_unknown_needs_admin() {
        let check = |method: Method, path: &str, want: Need| assert_eq!(need(&method, path), want, "{path}");
        let classify = Need::key(Scope::Classify, Charge::Call);
        let admin = Need::key(Scope::Admin, Charge::Call);
        check(Method::GET, "/", Need::Nothing);
        check(Method::GET, "/assets/index-1.js", Need::Nothing);
        check(Method::POST, "/assets/cat.jpg", classify);
        check(Method::GET, "/healthz", Need::Nothing);
        check(Method::HEAD, "/readyz", Need::Nothing);
        check(Method::POST, "/", classify);
        check(Method::POST, "/upload", classify);
        check(Method::POST, "/v1/classify", classify);
        check(Method::POST, "/anything", classify);
        check(Method::GET, "/metrics", admin);
        check(Method::DELETE, "/", admin);
        check(Method::PUT, "/upload", admin);
    }
}
