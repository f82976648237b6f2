//! The audit: a line of the log for everything that somebody changed, or tried to with a token that does not allow it.
//!
//! Its target is `artifactapi::audit`, its fields are who (the token's name, and where the token is known from), what,
//! repository, path, from where, the request's id, and the outcome. Reading is not in it. It is a part of the log like any
//! other, for whoever collects logs; `RUST_LOG` must let `artifactapi::audit=info` through.
//!
//! It promises a line for each change that was begun, also for one whose client left in the middle.

use std::net::IpAddr;

use axum::http::request::Parts;

use crate::access::Caller;
use crate::http::error::{Problem, RequestId};
use crate::store::key::RepositoryName;

/// Somebody who was let in.
#[derive(Debug)]
pub struct Entry {
    /// Who.
    pub caller: Caller,
    repository: RepositoryName,
    from: Option<IpAddr>,
    request_id: Option<RequestId>,
}

impl Entry {
    pub(super) fn of(caller: Caller, repository: RepositoryName, from: Option<IpAddr>, parts: &Parts) -> Self {
        Self { caller, repository, from, request_id: parts.extensions.get().cloned() }
    }

    /// Does something that changes the repository, and writes down what came of it. `what` is a verb, the same for all of a
    /// kind.
    ///
    /// # Errors
    /// Whatever `work` answers.
    pub async fn audited<T>(
        &self,
        what: &'static str,
        path: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.noted(what, path, Outcome::Done, work).await
    }

    /// Does what comes before changes that have a line each: a line only if it does not come to them.
    ///
    /// # Errors
    /// Whatever `work` answers.
    pub async fn audited_unless_done<T>(
        &self,
        what: &'static str,
        path: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.noted(what, path, Outcome::ToldElsewhere, work).await
    }

    async fn noted<T>(
        &self,
        what: &'static str,
        path: &str,
        done: Outcome,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let mut line = Line { entry: self, what, path, outcome: Outcome::CutOff };
        let result = work.await;
        line.outcome = match &result {
            Ok(_) => done,
            Err(problem) => Outcome::Failed(problem.status().as_u16()),
        };
        result
    }

    /// Writes down what was not begun.
    pub(super) fn refused(&self, parts: &Parts, problem: &Problem) {
        let outcome = Outcome::Refused(problem.status().as_u16());
        drop(Line { entry: self, what: parts.method.as_str(), path: parts.uri.path(), outcome });
    }
}

/// A line that is written when it is dropped: a client that leaves drops the future that holds it.
struct Line<'a> {
    entry: &'a Entry,
    what: &'a str,
    path: &'a str,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Outcome {
    Done,
    Refused(u16),
    Failed(u16),
    CutOff,
    ToldElsewhere,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Entry { caller, repository, from, request_id } = self.entry;
        let (outcome, status) = match self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Refused(status) => ("refused", Some(status)),
            Outcome::Failed(status) => ("failed", Some(status)),
            Outcome::CutOff => ("cut off", None),
            Outcome::ToldElsewhere => return,
        };
        tracing::info!(
            target: "artifactapi::audit",
            who = caller.name(),
            token = origin(caller),
            what = self.what,
            %repository,
            path = self.path,
            from = from.map(display),
            request_id = request_id.as_ref().map(RequestId::as_str),
            outcome,
            status,
            "audit"
        );
    }
}

fn origin(caller: &Caller) -> Option<String> {
    caller.holder().map(|holder| holder.origin.to_string())
}
