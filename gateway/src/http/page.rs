//! The page: files built in clients/web, carried in the binary, small ones beside them for browsers that unpack.

use axum::{
    extract::OriginalUri,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse, Response},
};
use platform::{Error, Kind};

/// Everything comes from here; `blob:` are the small copies of pictures that the page makes itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

/// Address and content; a packed one stands beside its own as `.br` and `.gz`.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What a browser unpacks, the smallest first.
const PACKINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

pub(super) async fn first(headers: HeaderMap) -> Response {
    // Asked for each time: it names the other files, which are kept.
    answer("/index.html", "no-cache", &headers)
}

pub(super) async fn asset(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    // Their names change with their content.
    answer(uri.path(), "public, max-age=31536000, immutable", &headers)
}

fn answer(path: &str, kept: &'static str, headers: &HeaderMap) -> Response {
    let (Some(content_type), Some(plain)) = (content_type(path), file(path)) else {
        let error = Error::new(Kind::ObjectNotFound, format!("nothing at {path}; see / for what is here"));
        return super::problem(&error, None);
    };
    let packed = PACKINGS
        .into_iter()
        .filter(|(packing, _)| accepts(headers, packing))
        .find_map(|(packing, ending)| Some((packing, file(&format!("{path}{ending}"))?)));
    let always: [(HeaderName, &str); 7] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, kept),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    match packed {
        Some((packing, bytes)) => (always, [(header::CONTENT_ENCODING, packing)], bytes).into_response(),
        None => (always, plain).into_response(),
    }
}

fn file(path: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
}

/// Of what the page is made of; a packed file has none, so nobody is sent one as it lies here.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// Whether `accept-encoding` names the packing, and not with a weight of 0 (RFC 9110, 12.5.3).
fn accepts(headers: &HeaderMap, packing: &str) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|range| {
        let (name, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(packing) && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::HeaderValue};

    use super::*;

    fn asking(packings: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(packings))])
    }

    #[tokio::test]
    async fn page_is_html_that_allows_only_its_own_files() {
        let response = first(HeaderMap::new()).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        let page = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let page = std::str::from_utf8(&page).unwrap();
        assert!(
            page.contains("<title>Dunlin</title>") && !page.contains("style=") && !page.contains("<style")
        );
    }

    #[test]
    fn every_file_of_the_page_is_carried_with_its_packed_copies() {
        let page = std::str::from_utf8(file("/index.html").unwrap()).unwrap();
        let named = page.split('"').filter(|part| part.starts_with("/assets/")).collect::<Vec<_>>();
        assert!(named.len() >= 3, "{named:?}");
        for name in named {
            let plain = file(name).unwrap_or_else(|| panic!("{name} is not carried"));
            let response = answer(name, "", &asking("gzip, deflate, br, zstd"));
            assert_eq!(response.headers()[header::CONTENT_ENCODING], "br", "{name}");
            for (_, ending) in PACKINGS {
                assert!(file(&format!("{name}{ending}")).unwrap().len() < plain.len(), "{name}{ending}");
            }
        }
    }

    #[test]
    fn packing_is_the_smallest_that_the_browser_takes() {
        let check = |given, want: Option<&str>| {
            let response = answer("/index.html", "no-cache", &asking(given));
            let packing = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(packing.map(|value| value.to_str().unwrap()), want, "{given}");
        };
        check("", None);
        check("identity", None);
        check("gzip, deflate", Some("gzip"));
        check("gzip, deflate, br, zstd", Some("br"));
        check("GZIP;q=0.5", Some("gzip"));
        check("br;q=0, gzip;q=0.0", None);
    }

    #[test]
    fn packed_file_has_no_address_of_its_own() {
        assert_eq!(answer("/index.html.br", "", &HeaderMap::new()).status(), 404);
        assert_eq!(answer("/assets/none.js", "", &HeaderMap::new()).status(), 404);
    }
}
