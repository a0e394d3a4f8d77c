//! What stands in front of the handlers: finds out who calls, and lets through whoever may.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{HeaderMap, HeaderName, Method, header};

use super::{Caller, Keys, Secret, key::Hash, methods, refusal, scope::Scope};
use crate::{Error, Kind, Result};

/// Beside `authorization`, for tools that have it for themselves.
const API_KEY: &str = "x-api-key";

/// The secret between our own services, in a call's metadata.
pub const INTERNAL_SECRET: &str = "x-dunlin-internal";

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// A key of this scope, if keys are asked for.
    Key(Scope, Charge),
    /// The same, or a client certificate.
    KeyOrCertificate(Scope),
    /// To be one of our own services.
    Peer,
}

/// What is taken from the key's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// One.
    Call,
    /// As many as there are images. The handler does it, who knows: `Caller::charge`.
    Images,
}

impl Need {
    pub const fn key(scope: Scope, charge: Charge) -> Self {
        Self::Key(scope, charge)
    }
}

/// How the calls of one port are checked.
#[derive(Clone, Default)]
pub struct Guard {
    keys: Option<Arc<Keys>>,
    secret: Option<Hash>,
    certificates: bool,
}

#[derive(Clone)]
struct Guarded {
    guard: Guard,
    need: fn(&Method, &str) -> Need,
}

impl Guard {
    /// Lets everybody do everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// Asks for keys.
    #[must_use]
    pub fn with_keys(self, keys: Option<Arc<Keys>>) -> Self {
        Self { keys, ..self }
    }

    /// Asks our own services for this secret.
    #[must_use]
    pub fn with_secret(self, secret: Option<&Secret>) -> Self {
        Self { secret: secret.map(|secret| Hash::of(secret.reveal().as_bytes())), ..self }
    }

    /// Every connection of this port has shown a certificate that we asked for.
    #[must_use]
    pub fn with_certificates(self, certificates: bool) -> Self {
        Self { certificates, ..self }
    }

    /// Checks the calls of gRPC services, by their tables.
    pub fn grpc(&self, router: Router) -> Router {
        self.http(router, |_, path| methods::need(path))
    }

    /// Checks the requests of `router`, its fallback included.
    pub fn http(&self, router: Router, need: fn(&Method, &str) -> Need) -> Router {
        router.layer(from_fn_with_state(Guarded { guard: self.clone(), need }, check))
    }

    fn admit(&self, headers: &HeaderMap, need: Need) -> Result<Caller> {
        match (need, &self.keys) {
            (Need::Nothing, _) => Ok(Caller::anonymous()),
            (Need::Peer, _) => self.admit_peer(headers).map(|()| Caller::anonymous()),
            (_, None) => Ok(Caller::anonymous()),
            (Need::KeyOrCertificate(_), Some(_)) if self.certificates => Ok(Caller::anonymous()),
            (Need::KeyOrCertificate(scope), Some(keys)) => admit_key(keys, headers, scope, Charge::Call),
            (Need::Key(scope, charge), Some(keys)) => admit_key(keys, headers, scope, charge),
        }
    }

    /// With a certificate and no secret set, the certificate is enough.
    fn admit_peer(&self, headers: &HeaderMap) -> Result<()> {
        let Some(secret) = self.secret else { return Ok(()) };
        let sent = headers.get(INTERNAL_SECRET).map(http::HeaderValue::as_bytes).unwrap_or_default();
        // The hashes are compared, so that the length does not show either.
        match Hash::of_sent(sent) {
            Some(hash) if hash == secret => Ok(()),
            _ => Err(Error::new(
                Kind::ApiKeyInvalid,
                "this port is for Dunlin's own services: the internal secret is missing or not the same here and there \
                 (--internal-secret-file or DUNLIN_INTERNAL_SECRET)",
            )),
        }
    }
}

fn admit_key(keys: &Keys, headers: &HeaderMap, scope: Scope, charge: Charge) -> Result<Caller> {
    let caller = keys.find(sent_key(headers)?)?;
    if !caller.scopes.allow(scope) {
        let has = caller.scopes.iter().map(Scope::name).collect::<Vec<_>>().join(", ");
        let name = caller.name().unwrap_or_default();
        let sentence = format!("this needs a key of scope {scope}; the key {name:?} has {has}");
        return Err(Error::new(Kind::ScopeMissing, sentence).with_metadata("scope", scope));
    }
    match charge {
        Charge::Call => caller.charge(1)?,
        Charge::Images => caller.check_debt()?,
    }
    Ok(caller)
}

/// The key as it was sent.
fn sent_key(headers: &HeaderMap) -> Result<&[u8]> {
    const BEARER: &[u8] = b"bearer ";
    let missing = |sentence: &str| Error::new(Kind::ApiKeyInvalid, sentence);
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let value = value.as_bytes();
        let (scheme, key) = value
            .split_at_checked(BEARER.len())
            .ok_or_else(|| missing("authorization is not of the form: Bearer KEY"))?;
        if !scheme.eq_ignore_ascii_case(BEARER) {
            return Err(missing("authorization is not of the form: Bearer KEY"));
        }
        return Ok(key.trim_ascii());
    }
    let key = headers.get(API_KEY).map(|value| value.as_bytes().trim_ascii());
    key.ok_or_else(|| missing("no key: send it as `authorization: Bearer KEY` or `x-api-key: KEY`"))
}

async fn check(State(guarded): State<Guarded>, mut request: Request, next: Next) -> Response {
    let need = (guarded.need)(request.method(), request.uri().path());
    match guarded.guard.admit(request.headers(), need) {
        Ok(caller) => {
            // What handlers log or pass on has no key in it, but where they mean it to.
            let sent = SentKey::take(request.headers_mut());
            request.headers_mut().remove(INTERNAL_SECRET);
            request.extensions_mut().insert(sent);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            tracing::debug!(%error, path = request.uri().path(), "refused");
            refusal::answer(&request, error)
        }
    }
}

/// The key of a call that was let through, in its extensions: for a handler that passes the call on to another service of
/// ours, which checks it again.
#[derive(Clone, Default)]
pub struct SentKey(HeaderMap);

impl SentKey {
    fn take(headers: &mut HeaderMap) -> Self {
        let mut sent = HeaderMap::new();
        for name in [header::AUTHORIZATION, HeaderName::from_static(API_KEY)] {
            if let Some(mut value) = headers.remove(&name) {
                value.set_sensitive(true);
                sent.insert(name, value);
            }
        }
        Self(sent)
    }

    /// Into the headers of what is passed on.
    pub fn put_back(self, headers: &mut HeaderMap) {
        headers.extend(self.0);
    }
}

#[cfg(test)]
mod tests;
