//! The options of a port where our own services connect, and callers never do.

use std::{net::SocketAddr, path::PathBuf};

use tokio::net::TcpListener;

use super::{Guard, PeerOptions};
use crate::{
    Result,
    options::Problems,
    serve::{Port, TlsFiles},
};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Between Dunlin's services")]
pub struct InternalOptions {
    /// Speak TLS on the internal port with this certificate, as PEM; read again when it changes
    #[arg(long, env = "DUNLIN_INTERNAL_TLS_CERT", value_name = "FILE", requires = "internal_tls_key")]
    pub internal_tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, env = "DUNLIN_INTERNAL_TLS_KEY", value_name = "FILE", requires = "internal_tls_cert")]
    pub internal_tls_key: Option<PathBuf>,
    /// Let only those connect to the internal port who show a certificate of this authority, as PEM
    #[arg(long, env = "DUNLIN_INTERNAL_TLS_CLIENT_CA", value_name = "FILE", requires = "internal_tls_cert")]
    pub internal_tls_client_ca: Option<PathBuf>,
    #[command(flatten)]
    pub peers: PeerOptions,
}

impl InternalOptions {
    fn files(&self) -> Option<TlsFiles> {
        TlsFiles::new(&self.internal_tls_cert, &self.internal_tls_key, &self.internal_tls_client_ca)
    }

    pub fn scheme(&self) -> &'static str {
        if self.internal_tls_cert.is_some() { "https" } else { "http" }
    }

    pub fn guard(&self) -> Result<Guard> {
        Ok(Guard::open().with_secret(self.peers.secret()?.as_ref()))
    }

    pub fn port(&self, listener: TcpListener) -> Result<Port> {
        let tls = self.files().map(TlsFiles::open).transpose()?;
        Ok(Port { tls, ..Port::from(listener) })
    }

    /// What is wrong with these options and an address that other machines may reach.
    pub fn check_listen(&self, listen: Listen<'_>, problems: &mut Problems) {
        let allow_anonymous = listen.allow_anonymous || self.internal_tls_client_ca.is_some();
        self.peers.check_listen(Listen { allow_anonymous, ..listen }, problems);
    }
}

/// Where our own services connect.
#[derive(Debug, Clone, Copy)]
pub struct Listen<'a> {
    /// The option that says so.
    pub flag: &'a str,
    pub address: SocketAddr,
    /// Whether somebody said that the network may be trusted, or something else guards it.
    pub allow_anonymous: bool,
}
