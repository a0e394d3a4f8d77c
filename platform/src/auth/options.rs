//! The options of who may call, which the gateway, the autoscaler and `dunlin up` share.

use std::{net::SocketAddr, path::PathBuf};

use tokio::net::TcpListener;

use http::HeaderValue;

use super::{Guard, Keys, Secret};
use crate::{
    Result,
    options::Problems,
    serve::{Port, TlsOptions, parse_origin},
};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// The keys that callers have to bring, in a file that `dunlin key create` makes and that is read again when it changes;
    /// none: no key is asked for
    #[arg(long, env = "DUNLIN_KEYS", value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Let anyone who can reach an address that is not loopback use it without a key
    #[arg(long, env = "DUNLIN_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
    #[command(flatten)]
    pub tls: TlsOptions,
    /// An origin whose pages may call this service from a browser, such as https://example.org; once for each. None: only
    /// this service's own pages
    #[arg(long = "cors-origin", env = "DUNLIN_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',', value_parser = parse_origin)]
    pub cors_origins: Vec<HeaderValue>,
    /// One more key beside the file's, of this process for calls to itself.
    #[arg(skip)]
    pub own_key: Option<Secret>,
}

impl AccessOptions {
    /// Reads the keys, if there are to be any.
    pub async fn guard(&self) -> Result<Guard> {
        let keys = match &self.keys {
            Some(path) => Some(Keys::open_with(path, self.own_key.as_ref()).await?),
            None => None,
        };
        let certificates = self.tls.files().is_some_and(|files| files.asks_for_certificates());
        Ok(Guard::open().with_keys(keys).with_certificates(certificates))
    }

    /// The port with its TLS, if it is to have any.
    pub fn port(&self, listener: TcpListener) -> Result<Port> {
        let tls = self.tls.files().map(|files| files.open()).transpose()?;
        Ok(Port { listener, tls, cors_origins: self.cors_origins.clone() })
    }

    /// An address that other machines reach needs keys, or somebody who says that it does not.
    pub fn check_listen(&self, flag: &str, address: SocketAddr, problems: &mut Problems) {
        if address.ip().is_loopback() || self.keys.is_some() || self.allow_anonymous {
            return;
        }
        problems.add(
            flag,
            format_args!(
                "{address} can be reached from other machines: ask callers for keys with --keys FILE (dunlin key create \
                 makes one), listen on 127.0.0.1, or let anyone in with --allow-anonymous"
            ),
        );
    }
}
