//! Who may do what, at the door.
//!
//! Every handler that reads from a repository or changes one asks the [`Gate`] first:
//!
//! ```ignore
//! let entry = gate.authorize(&parts, &repository, Grant::Write).await?;      // 401, 403, 429 or 503 otherwise
//! entry.audited("upload", path.as_str(), upload(/* … */)).await              // a line for the audit, whatever came of it
//! ```
//!
//! It promises:
//! - **Asked before anything is told.** Apart from that a repository of that name exists, an answer to somebody who may not
//!   read it says nothing of it; so the gate comes before patterns, catalog and stores.
//! - **A token is never repeated**: not in an answer, not in a log, not in an error.
//! - **An anonymous request for a repository that anybody may read costs one look for a header.** No lock, no allocation.
//!   What the short ways (`fast`, `direct`) remember is of such repositories only, and they pass on whatever carries
//!   `Authorization`.
//! - **Wrong is told at once.** A wrong token is 401 wherever tokens are looked at, also where none would be needed: who
//!   presents one means it, and would otherwise learn it on the day when it is needed. `/ready` alone takes it for none: a probe
//!   must not fail for it.
//!
//! It never decides anything itself: [`decide`] does.

mod audit;
mod failures;
mod presented;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use ipnet::IpNet;

pub use self::audit::Entry;
use self::failures::Failures;
use self::presented::{Presented, presented};
use super::client::address;
use super::error::Problem;
use crate::access::{Caller, Decision, Grant, decide};
use crate::config::Repository;
use crate::engine::callers::{Callers, NobodysToken};

/// How a token is sent.
const HOW: &str = "send it as \"Authorization: Bearer\", or as the password of Basic with any user";

/// The same for programs. Basic comes first: apk, dnf and curl look no further.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"artifactapi\", Bearer");

/// What every handler asks.
pub struct Gate {
    callers: Arc<Callers>,
    failures: Failures,
    trusted_proxies: Arc<[IpNet]>,
}

impl Gate {
    /// A gate for those callers; addresses are told by `X-Forwarded-For` behind these proxies only.
    #[must_use]
    pub fn new(callers: Arc<Callers>, trusted_proxies: Arc<[IpNet]>) -> Self {
        Self { callers, failures: Failures::default(), trusted_proxies }
    }

    /// Lets a request do to a repository what needs this grant.
    ///
    /// # Errors
    /// 401 without a token or with a wrong one, 403 for a right one that does not allow it, 429 after too many wrong ones,
    /// 503 when nobody can say now whether it still stands. A change that a right token does not allow is written to the audit.
    pub async fn authorize(&self, parts: &Parts, repository: &Repository, needed: Grant) -> Result<Entry, Problem> {
        self.authorize_or(parts, repository, needed, |_| None).await
    }

    /// The same, where there may be a better answer for those who are not let in.
    ///
    /// # Errors
    /// As for [`Gate::authorize`], or what `better` answers in its place.
    pub async fn authorize_or(
        &self,
        parts: &Parts,
        repository: &Repository,
        needed: Grant,
        better: impl FnOnce(&Caller) -> Option<Problem>,
    ) -> Result<Entry, Problem> {
        // Only what is written down needs to know from where it came.
        let from = if needed == Grant::Read { None } else { self.address(parts) };
        let caller = self.caller(parts).await?;
        let decision = decide(&caller, repository.policy(), needed);
        let problem = refusal(decision, &caller, repository, needed).map(|problem| better(&caller).unwrap_or(problem));
        let entry = Entry::of(caller, repository.name.clone(), from, parts);
        let Some(problem) = problem else { return Ok(entry) };
        if needed != Grant::Read && entry.caller.holder().is_some() {
            entry.refused(parts, &problem);
        }
        Err(problem)
    }

    /// Who asks.
    ///
    /// # Errors
    /// 401 for what is no token or a wrong one, 429 after too many of them.
    pub async fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Caller::Anonymous);
        }
        let from = self.address(parts);
        let text = match presented(&parts.headers) {
            Presented::Token(text) => text,
            Presented::Nothing => return Ok(Caller::Anonymous),
            Presented::Unreadable(why) => return Err(unauthorized(format!("The Authorization header {why}."))),
        };
        if let Some(wait) = self.failures.must_wait(from, &text) {
            tracing::debug!(client = from.map(display), "a token is not looked at: too many wrong ones");
            return Err(too_many(wait));
        }
        match self.callers.who_presents(&text).await {
            Ok(caller) => {
                if matches!(caller, Caller::Holder(_)) {
                    self.failures.was_right(from, &text);
                }
                Ok(caller)
            }
            Err(why) => {
                self.failures.was_wrong(from, &text);
                tracing::warn!(
                    client = from.map(display),
                    reason = reason(why),
                    path = parts.uri.path(),
                    "a token was refused"
                );
                Err(unauthorized(format!("{}.", capitalised(&why.to_string()))))
            }
        }
    }

    /// Lets a request on that presents a right token, whatever it allows: for those that say in their body what they are about.
    ///
    /// # Errors
    /// As [`Gate::caller`], and 401 for whoever presents none.
    pub async fn somebody(&self, parts: &Parts) -> Result<(), Problem> {
        match self.caller(parts).await? {
            Caller::Anonymous => Err(unauthorized(format!("This needs a token: {HOW}."))),
            _ => Ok(()),
        }
    }

    /// The client's address, by the word of those we trust. `None` without a connection, in tests.
    fn address(&self, parts: &Parts) -> Option<IpAddr> {
        let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(address(&parts.headers, peer.ip(), &self.trusted_proxies))
    }
}

/// Whether a list may name the repository to this caller.
#[must_use]
pub fn may_see(caller: &Caller, repository: &Repository) -> bool {
    decide(caller, repository.policy(), Grant::Read) == Decision::Allowed
}

/// Keeps an answer that is not for everybody out of caches that several people share.
pub fn keep_private<B>(mut response: Response<B>, repository: &Repository) -> Response<B> {
    if !repository.anonymous_read {
        not_for_everybody(response.headers_mut());
    }
    response
}

fn not_for_everybody(headers: &mut HeaderMap) {
    let said = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept: Vec<&str> =
        said.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "public" | "private")).collect();
    let private = [&["private"], &kept[..]].concat().join(", ");
    headers.insert(CACHE_CONTROL, HeaderValue::try_from(private).unwrap_or(HeaderValue::from_static("private")));
    let varies: Vec<&str> = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).collect();
    let varies = [&varies[..], &["authorization"]].concat().join(", ");
    headers.insert(VARY, HeaderValue::try_from(varies).unwrap_or(HeaderValue::from_static("*")));
}

fn unauthorized(detail: String) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "A token is needed", detail).with(WWW_AUTHENTICATE, CHALLENGE)
}

fn too_many(wait: u64) -> Problem {
    let detail = format!("Too many wrong tokens came from this address; present the right one in {wait} s.");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens", detail)
        .with(RETRY_AFTER, HeaderValue::from(wait))
}

fn refusal(decision: Decision, caller: &Caller, repository: &Repository, needed: Grant) -> Option<Problem> {
    let name = &repository.name;
    Some(match decision {
        Decision::Allowed => return None,
        Decision::Forbidden => Problem::new(
            StatusCode::FORBIDDEN,
            "The token does not allow it",
            format!("The token {:?} has no {needed} grant on repository {name:?}.", caller.name()),
        ),
        Decision::NotNow => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "A part of the server is away",
            "The catalog does not answer, so nobody can say now whether the token still stands; GET /ready says what is away.",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("5")),
        Decision::NeedsToken => unauthorized(format!(
            "This needs a token with the {needed} grant on repository {name:?}: {HOW}."
        )),
    })
}

const fn reason(why: NobodysToken) -> &'static str {
    match why {
        NobodysToken::Unfit => "unfit",
        NobodysToken::Mistyped => "mistyped",
        NobodysToken::Unknown => "unknown",
        NobodysToken::Expired => "expired",
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_everybody_stays_out_of_shared_caches() {
        let table = [
            (Some("public, max-age=31536000, immutable"), "private, max-age=31536000, immutable"),
            (Some("no-cache"), "private, no-cache"),
            (Some("no-store"), "private, no-store"),
            (None, "private"),
        ];
        for (said, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(said));
            }
            not_for_everybody(&mut headers);
            assert_eq!(headers.get(CACHE_CONTROL).expect("it is there"), expected);
            assert_eq!(headers.get(VARY).expect("it is there"), "authorization");
        }
        let mut headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        not_for_everybody(&mut headers);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["accept, authorization"], "in one line");
    }
}
