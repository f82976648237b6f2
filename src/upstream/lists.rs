//! Lists of mirrors: fetched when somebody needs one, kept while they are young, and kept when no younger one can be had.
//!
//! What this promises:
//! - **One at a time**: of all who need a list again, one asks for it, and the others go on with the one there is. Who has
//!   none waits for the one who asks.
//! - **An old list is better than none.** The server that has it may be away for as long as it likes; what it last said holds
//!   until it says something else that can be used.
//! - **Everything is bounded**: the bytes of a list, the time that it takes, the mirrors in it.
//!
//! It never asks a mirror, and knows no form of a list: that is the format's. What is remembered belongs to a repository and to
//! what its configuration says of the list; another list, or another password, begins anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::mirrors::MirrorList;
use artifactapi_formats::{Limits, MirrorFormat};
use parking_lot::Mutex;
use url::Url;

use super::attempt::attempt;
use super::client::{Upstream, host_of};
use super::word::{Home, Word};
use super::{Answer, Freshness, How, Sent, UpstreamError, UpstreamErrorKind};
use crate::config::{Credentials, List, Remote, Repository};
use crate::store::key::RepositoryName;

/// The longest that fetching a list may take, however it drips.
const PATIENCE: Duration = Duration::from_secs(60);

/// With an older list at hand, one that could not be had is not asked for again for so long.
const REST: Duration = Duration::from_secs(10);

/// How many repositories' lists are remembered.
const REMEMBERED: usize = 4_096;

/// The lists of all repositories.
#[derive(Debug, Default)]
pub(super) struct Lists {
    known: Mutex<HashMap<RepositoryName, Arc<Known>>>,
    limits: Limits,
}

/// A list that was read.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) list: MirrorList,
    /// Those of its mirrors that can be asked, best first.
    pub(super) urls: Vec<Url>,
    pub(super) home: Home,
}

/// What is remembered of the list of one repository.
#[derive(Debug)]
struct Known {
    list: List,
    credentials: Option<Credentials>,
    /// Held by the one who asks.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last list that could be read, and when it was asked for.
    read: Option<(Arc<Listed>, Instant)>,
    /// The last try, if it came to nothing.
    failed: Option<(UpstreamError, Instant)>,
}

impl Known {
    /// The list, if it is as new as is wanted, or cannot be expected to be newer.
    fn usable(&self, freshness: Freshness) -> Option<Arc<Listed>> {
        let state = self.state.lock();
        let (list, asked) = state.read.as_ref()?;
        let is_new = match freshness {
            Freshness::Within(age) => asked.elapsed() < age,
            Freshness::Since(moment) => *asked >= moment,
        };
        let rests = state.failed.as_ref().is_some_and(|(_, at)| at.elapsed() < REST);
        (is_new || rests).then(|| Arc::clone(list))
    }

    fn any(&self) -> Option<Arc<Listed>> {
        self.state.lock().read.as_ref().map(|(list, _)| Arc::clone(list))
    }

    /// The error of a try that began after `moment`.
    fn failed_since(&self, moment: Instant) -> Option<UpstreamError> {
        self.state.lock().failed.as_ref().filter(|(_, at)| *at >= moment).map(|(error, _)| error.clone())
    }
}

impl Lists {
    /// The list of a repository, as new as is wanted if that can be had.
    ///
    /// # Errors
    /// [`UpstreamErrorKind::NoList`] when there is none, new or old.
    pub(super) async fn current(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        remote: &Remote,
        list: &List,
        freshness: Freshness,
    ) -> Result<Arc<Listed>, UpstreamError> {
        let (known, came) = (self.known(repository, remote, list), Instant::now());
        if let Some(usable) = known.usable(freshness) {
            return Ok(usable);
        }
        let _turn = match known.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => match (freshness, known.any()) {
                (Freshness::Within(_), Some(old)) => return Ok(old),
                _ => known.turn.lock().await,
            },
        };
        if let Some(usable) = known.usable(freshness) {
            return Ok(usable);
        }
        // Whoever had the turn while this one waited has just found out.
        if let (Some(error), None) = (known.failed_since(came), known.any()) {
            return Err(error);
        }
        let asked = Instant::now();
        match self.fetch(upstream, repository, remote, list).await {
            Ok(listed) => {
                let listed = Arc::new(listed);
                tracing::debug!(
                    target: "artifactapi::upstream",
                    repository = %repository.name, mirrors = listed.urls.len(),
                    revisions = listed.list.revisions.len(), "list of mirrors read"
                );
                *known.state.lock() = State { read: Some((Arc::clone(&listed), asked)), failed: None };
                Ok(listed)
            }
            Err(error) => {
                let had_failed = known.state.lock().failed.replace((error.clone(), Instant::now())).is_some();
                match known.any() {
                    Some(old) => {
                        if !had_failed {
                            tracing::warn!(
                                target: "artifactapi::upstream",
                                repository = %repository.name, %error, "the list of mirrors stays as it was"
                            );
                        }
                        Ok(old)
                    }
                    None => Err(error),
                }
            }
        }
    }

    fn known(&self, repository: &Repository, remote: &Remote, list: &List) -> Arc<Known> {
        let mut known = self.known.lock();
        let is_same = |known: &&Arc<Known>| known.list == *list && known.credentials == remote.credentials;
        if let Some(found) = known.get(&repository.name).filter(is_same) {
            return Arc::clone(found);
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let made = Arc::new(Known {
            list: list.clone(),
            credentials: remote.credentials.clone(),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        });
        known.insert(repository.name.clone(), Arc::clone(&made));
        made
    }

    async fn fetch(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        remote: &Remote,
        list: &List,
    ) -> Result<Listed, UpstreamError> {
        let none = |why: String| UpstreamError { host: host_of(&list.url), kind: UpstreamErrorKind::NoList(why) };
        let format = repository.format.mirrors().ok_or_else(|| none("its format has none".to_owned()))?;
        let fetching = async {
            let clients = upstream.clients_for(remote)?;
            let answer = attempt(&clients, remote, &How::Get, list.url.clone(), Word::Operator).await?;
            let may_lead_anywhere = answer.led.may_lead_anywhere();
            Ok((self.body(answer).await?, may_lead_anywhere))
        };
        let fetched: Result<Result<_, UpstreamError>, _> = tokio::time::timeout(PATIENCE, fetching).await;
        let (body, may_lead_anywhere) = match fetched {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(error)) => return Err(none(error.kind.to_string())),
            Err(_) => return Err(none(format!("it took longer than {} s", PATIENCE.as_secs()))),
        };
        let (is_metalink, limits) = (list.is_metalink, self.limits.clone());
        let reading = tokio::task::spawn_blocking(move || read(format, &body, is_metalink, &limits));
        let (list_read, urls) = match reading.await {
            Ok(read) => read.map_err(none)?,
            Err(_) => return Err(none("the thread that read it failed".to_owned())),
        };
        Ok(Listed { list: list_read, urls, home: Home { url: list.url.clone(), may_lead_anywhere } })
    }

    async fn body(&self, mut answer: Answer) -> Result<Vec<u8>, UpstreamError> {
        if answer.sent != Sent::Whole {
            return Err(answer.body.error(UpstreamErrorKind::Unfit("a part, or nothing, in place of it".to_owned())));
        }
        let (most, declared) = (self.limits.entry_bytes, answer.length);
        let mut body = Vec::new();
        while let Some(bytes) = answer.body.next().await {
            body.extend_from_slice(&bytes?);
            if body.len() as u64 > most {
                return Err(answer.body.error(UpstreamErrorKind::Unfit(format!("more than {most} bytes"))));
            }
        }
        let got = body.len() as u64;
        match declared {
            Some(declared) if declared != got => {
                Err(answer.body.error(UpstreamErrorKind::WrongLength { got, declared }))
            }
            _ => Ok(body),
        }
    }
}

/// The list, and those of its mirrors that can be asked.
fn read(
    format: &dyn MirrorFormat,
    body: &[u8],
    is_metalink: bool,
    limits: &Limits,
) -> Result<(MirrorList, Vec<Url>), String> {
    let list = match format.read(body, limits) {
        Ok(Some(list)) => list,
        Ok(None) => return Err("what it sent is about another file than an index".to_owned()),
        Err(why) => return Err(why.to_string()),
    };
    if is_metalink && list.revisions.is_empty() {
        return Err(
            "what it sent says of no index that it is right; if that is as it should be, use mirrorlist".to_owned()
        );
    }
    let mut urls: Vec<Url> = Vec::new();
    for url in list.mirrors.iter().filter_map(|mirror| base_of(&mirror.base_url)) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    if urls.is_empty() {
        return Err("what it sent names no mirror that can be asked".to_owned());
    }
    Ok((list, urls))
}

/// The URL of a mirror, if paths can be appended to it. One with a variable is for clients, who know what it stands for.
fn base_of(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| !text.contains('$'))?;
    let is_usable = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path().ends_with('/');
    is_usable.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls_of(list: &str, is_metalink: bool) -> Result<Vec<String>, String> {
        let format = artifactapi_formats::find("rpm").and_then(|format| format.mirrors()).expect("rpm has lists");
        let (_, urls) = read(format, list.as_bytes(), is_metalink, &Limits::default())?;
        Ok(urls.into_iter().map(String::from).collect())
    }

    #[test]
    fn mirrors_that_can_be_asked() {
        let list = "http://a.example/x\nhttps://b.example/\nhttp://a.example/x/\nhttp://c.example/$basearch/\n\
                    http://me:secret@d.example/\nhttp://e.example/?a=b\nftp://f.example/\nhttp://[bad/\n";
        assert_eq!(urls_of(list, false), Ok(vec!["http://a.example/x/".to_owned(), "https://b.example/".to_owned()]));
    }

    #[test]
    fn lists_that_are_none() {
        for (list, why) in [
            ("", "names no mirror"),
            ("http://a.example/$basearch/", "names no mirror"),
            ("<html></html>", "malformed"),
            ("<metalink><files><file name=\"a.iso\"/></files></metalink>", "about another file"),
        ] {
            assert!(urls_of(list, false).is_err_and(|said| said.contains(why)), "{list}");
        }
        let why = urls_of("http://a.example/", true).expect_err("a metalink has digests");
        assert!(why.contains("use mirrorlist"), "{why}");
    }
}
