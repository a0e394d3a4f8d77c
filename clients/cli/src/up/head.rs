//! What `dunlin up` prints first: where everything is, and how to reach it.

use std::path::Path;

use super::{Addresses, Options, certificate::Certificate, say};

impl Options {
    pub(super) fn print_head(&self, addresses: &Addresses, data: &Path, (least, most): (u32, u32)) {
        let Addresses { public, internal, autoscaler } = addresses;
        let only_here = [public, internal, autoscaler].iter().all(|address| address.ip().is_loopback());
        let tls = self.access.tls.tls_cert.as_deref();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let ca = tls.map(|path| path.display().to_string());
        let with = |flag: &str| ca.as_ref().map_or_else(String::new, |ca| format!("{flag} {ca} "));
        let plain = if tls.is_some() { with("-cacert") } else { "-plaintext ".to_owned() };
        say(format_args!("dunlin {}  one machine, no cloud account\n", env!("CARGO_PKG_VERSION")));
        say(format_args!("  page        {scheme}://{public}/"));
        say(format_args!("  gRPC        {public}   grpcurl {plain}{public} list"));
        say(format_args!(
            "  upload      curl {}-F myfile=@cat.jpg {scheme}://{public}/upload",
            with("--cacert")
        ));
        let status = if self.tls {
            format!("dunlin status {}--autoscaler https://{autoscaler}", with("--ca"))
        } else {
            "dunlin status --watch".to_owned()
        };
        say(format_args!("  autoscaler  {autoscaler}   {status}"));
        say(format_args!("  data        {}   (kept; delete it to start afresh)", data.display()));
        say(format_args!("  workers     {least} to {most}, model {}", self.model));
        let open = if only_here { "only this machine" } else { "anyone who reaches these ports" };
        let key = match &self.access.keys {
            Some(file) => format!("with a key of {}", file.display()),
            None => "no key needed".to_owned(),
        };
        say(format_args!("  open        {open} can connect; {key}"));
    }
}

pub(super) fn print_certificate(made: &Certificate) {
    let (path, about) = (made.certificate.display(), &made.about);
    say(format_args!("  TLS         {path}, self-signed, until {}", about.ends));
    say(format_args!("              SHA-256 {}", about.fingerprint));
}
