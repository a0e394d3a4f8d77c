//! Where webhooks may go: the caller names the URL, and the call comes from inside our network. So only public addresses,
//! looked up by us and connected to as looked up, unless the operator allows a host and port by name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use platform::{Error, Kind, Result};
use url::{Host, Url};

const URL_BYTES_MAX: usize = 2048;

/// How long a name may take to be looked up.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// Hosts and ports that the operator allows whatever they are.
#[derive(Debug, Default)]
pub struct Guard(Vec<(String, u16)>);

/// A URL that may be called.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: Url,
    /// Without the brackets of an address.
    pub host: String,
    pub port: u16,
    pub is_tls: bool,
    /// Its address is not looked at.
    is_allowed: bool,
}

impl Guard {
    /// Of `HOST:PORT`, checked with the options.
    pub fn new(allowed: &[String]) -> Self {
        let parts = allowed.iter().filter_map(|place| place.rsplit_once(':'));
        let places = parts.filter_map(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            Some((host, port.parse().ok()?))
        });
        Self(places.collect())
    }

    /// Whether the URL by itself may be called.
    pub fn check(&self, url: &str) -> Result<Target> {
        let refuse = |why: &str| Err(Error::invalid("webhook.url", why));
        if url.len() > URL_BYTES_MAX {
            return refuse("longer than 2048 bytes");
        }
        let Ok(url) = Url::parse(url) else { return refuse("is no URL") };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_ascii_lowercase(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return refuse("names no host"),
        };
        let Some(port) = url.port_or_known_default() else { return refuse("names no port") };
        let is_allowed = self.0.iter().any(|place| *place == (host.clone(), port));
        match url.scheme() {
            "https" => {}
            "http" if is_allowed => {}
            _ => return refuse("has to be https://"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not have a user or password: calls are signed");
        }
        if let Ok(address) = host.parse::<IpAddr>()
            && !is_allowed
            && !is_public(address)
        {
            return refuse("is not a public address");
        }
        Ok(Target { is_tls: url.scheme() == "https", url, host, port, is_allowed })
    }

    /// The address to connect to. `InvalidRequest` when the host is not a public one; one that is not known now
    /// is `ServiceUnavailable`.
    pub async fn look_up(&self, target: &Target) -> Result<SocketAddr> {
        let unknown = || Error::new(Kind::ServiceUnavailable, "the webhook's host is not found");
        let found = tokio::net::lookup_host((target.host.as_str(), target.port));
        let found = tokio::time::timeout(LOOKUP_MAX, found).await.map_err(|_| unknown())?;
        let found: Vec<_> = found.map_err(|error| unknown().with_source(error))?.collect();
        // One of several would be enough to get in.
        if !target.is_allowed && found.iter().any(|address| !is_public(address.ip())) {
            return Err(Error::invalid("webhook.url", "its host has an address that is not public"));
        }
        found.first().copied().ok_or_else(unknown)
    }
}

/// Whether an address is of the internet at large: not this machine, not a network of somebody's own, not a cloud's
/// metadata, and none of these in another dress.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // The registry of special addresses: https://www.iana.org/assignments/iana-ipv4-special-registry
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Between a provider and its customers.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        // For measuring networks.
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    if let Some(inside) = address.to_ipv4_mapped() {
        return is_public_v4(inside);
    }
    // Global unicast, and of it not documentation, not 6to4 and Teredo, which have another address inside.
    (0x2000..0x4000).contains(&first)
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
        && !(first == 0x2620 && second == 0x004f && third == 0x8000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_told_in_every_dress() {
        let check = |text: &str, want: bool| assert_eq!(is_public(text.parse().unwrap()), want, "{text}");
        for public in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"] {
            check(public, true);
        }
        for closed in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2001::1",
            "100::1",
            "3fff::1",
        ] {
            check(closed, false);
        }
    }

    #[test]
    fn url_is_https_to_a_public_host_or_allowed_by_name() {
        let guard =
            Guard::new(&["hooks.internal:8080".to_owned(), "127.0.0.1:9".to_owned(), "[::1]:9".to_owned()]);
        let check = |url: &str, want: bool| assert_eq!(guard.check(url).is_ok(), want, "{url}");
        check("https://example.com/hook?x=1", true);
        check("https://example.com:8443/", true);
        check("http://example.com/", false);
        check("http://hooks.internal:8080/x", true);
        check("http://HOOKS.internal.:8080/x", true);
        check("http://hooks.internal:8081/x", false);
        check("http://127.0.0.1:9/", true);
        check("http://[::1]:9/", true);
        check("https://127.0.0.1/", false);
        check("https://2130706433/", false);
        check("https://0x7f.1/", false);
        check("https://0177.0.0.1/", false);
        check("https://[::ffff:169.254.169.254]/", false);
        check("https://169.254.169.254/latest/meta-data/", false);
        check("https://user:pass@example.com/", false);
        check("ftp://example.com/", false);
        check("file:///etc/passwd", false);
        check("gopher://example.com/", false);
        check("nonsense", false);
        check("", false);
        check(&format!("https://example.com/{}", "x".repeat(2048)), false);
    }

    #[tokio::test]
    async fn name_of_this_machine_is_no_public_host() {
        let guard = Guard::default();
        let target = guard.check("https://localhost/").unwrap();
        let error = guard.look_up(&target).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest);
        let allowed = Guard::new(&["localhost:443".to_owned()]);
        assert!(allowed.look_up(&allowed.check("https://localhost/").unwrap()).await.is_ok());
    }
}
