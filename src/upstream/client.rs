//! The client: connection pools, and the walk over the sources.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactapi_formats::RepoPath;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use url::Url;

use super::address::PublicOnly;
use super::attempt::{self, Clients, target_url};
use super::lists::Lists;
use super::ranking::Ranking;
use super::sources::Sources;
use super::{Answer, Ask, Freshness, How, UpstreamError, UpstreamErrorKind};
use crate::config::{Proxy, Remote, Repository, Whereabouts};

/// How long an idle upstream connection is kept, in seconds.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Idle upstream connections kept for each host.
const POOL_PER_HOST: usize = 32;

/// The most ways that have clients at once.
const WAYS: usize = 64;

/// Asks upstreams. Cheap to clone; connections are shared.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    clients: Arc<Mutex<HashMap<Way, Clients>>>,
    ranking: Arc<Ranking>,
    lists: Arc<Lists>,
    requests: Counter,
}

/// What belongs to a reqwest client as a whole: there is a pair of clients for each of these in use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    connect_timeout: Duration,
    proxy: Option<Proxy>,
}

/// The client library could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up (are the system's root certificates installed?): {0}")]
pub struct SetUpError(#[from] reqwest::Error);

impl Upstream {
    /// A client whose library has been shown to work on this machine. Each request it sends adds one to `requests`.
    ///
    /// # Errors
    /// [`SetUpError`] when TLS cannot be set up.
    pub fn new(connect_timeout: Duration, requests: Counter) -> Result<Self, SetUpError> {
        let upstream = Self { requests, ..Self::default() };
        upstream.clients(Way { connect_timeout, proxy: None })?;
        Ok(upstream)
    }

    /// Where a repository can be had from now: what the operator names, or the best of what its list names.
    ///
    /// # Errors
    /// [`UpstreamErrorKind::NoList`] when there is a list and it cannot be had, and never could.
    pub async fn sources(
        &self,
        repository: &Repository,
        remote: &Arc<Remote>,
        freshness: Freshness,
    ) -> Result<Sources, UpstreamError> {
        match &remote.whereabouts {
            Whereabouts::Named { .. } => Ok(Sources::named(remote)),
            Whereabouts::Listed(list) => {
                let listed = self.lists.current(self, repository, remote, list, freshness).await?;
                Ok(Sources::listed(remote, listed, &self.ranking))
            }
        }
    }

    pub(super) fn clients_for(&self, remote: &Remote) -> Result<Clients, UpstreamError> {
        let way = Way { connect_timeout: remote.timeouts.connect, proxy: remote.proxy.clone() };
        self.clients(way).map_err(|error| UpstreamError {
            host: host_of(remote.home()),
            kind: UpstreamErrorKind::Unreachable(error.to_string()),
        })
    }

    fn clients(&self, way: Way) -> Result<Clients, reqwest::Error> {
        let mut known = self.clients.lock();
        if let Some(clients) = known.get(&way) {
            return Ok(clients.clone());
        }
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("artifactapi/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                // A proxy named in the environment would resolve names for us: whether an address is public could not be
                // told any more, and a redirect could lead anywhere within the proxy's reach. That is for the operator to say.
                .no_proxy()
                .connect_timeout(way.connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_PER_HOST)
                .tcp_nodelay(true)
        };
        let requests = self.requests.clone();
        let clients = match &way.proxy {
            None => Clients { any: builder().build()?, public: builder().dns_resolver(PublicOnly).build()?, requests },
            // It resolves every name but its own, and that is the operator's.
            Some(proxy) => {
                let any = builder().proxy(through(proxy)?).build()?;
                Clients { public: any.clone(), any, requests }
            }
        };
        if known.len() >= WAYS {
            // Those of configurations that are not in force any more; whoever is in use is made again.
            known.clear();
        }
        known.insert(way, clients.clone());
        Ok(clients)
    }

    /// Asks the sources in turn, the best first or number `first_source` if that is given, and returns the first definite
    /// answer.
    ///
    /// # Errors
    /// The answer of the first one asked if none had the content; [`UpstreamErrorKind::Absent`] only if all agree.
    pub async fn ask(&self, ask: &Ask<'_>, first_source: Option<usize>) -> Result<Answer, UpstreamError> {
        self.in_turn(ask.remote, &ask.how, first_source, |base| target_url(base, ask)).await
    }

    /// Asks one source, once.
    ///
    /// # Errors
    /// Whatever that source says, and [`UpstreamErrorKind::Unreachable`] when there is none of that number.
    pub async fn ask_one(&self, ask: &Ask<'_>, source: usize) -> Result<Answer, UpstreamError> {
        let clients = self.clients_for(ask.remote)?;
        let base = ask.remote.url(source).ok_or_else(|| none(ask.remote))?;
        self.at(&clients, ask.remote, &ask.how, (source, base), target_url(base, ask)).await
    }

    /// Asks the sources in turn for the page in which they list a folder; `None` is the top of the repository, which
    /// no path names.
    ///
    /// # Errors
    /// As for [`Upstream::ask`].
    pub async fn list(&self, remote: &Sources, folder: Option<&RepoPath>) -> Result<Answer, UpstreamError> {
        self.in_turn(remote, &How::Get, None, |base| folder_url(base, folder)).await
    }

    async fn in_turn(
        &self,
        remote: &Sources,
        how: &How<'_>,
        first_source: Option<usize>,
        start: impl Fn(&Url) -> Url + Send,
    ) -> Result<Answer, UpstreamError> {
        let clients = self.clients_for(remote)?;
        let sources: Vec<&Url> = remote.urls().iter().collect();
        let mut trouble: Option<UpstreamError> = None;
        for number in self.ranking.order(&sources, first_source, Instant::now()) {
            let Some(base) = sources.get(number) else { continue };
            match self.at(&clients, remote, how, (number, base), start(base)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => trouble = Some(worse(trouble, error)),
            }
        }
        Err(trouble.unwrap_or_else(|| none(remote)))
    }

    /// One attempt at one source. A head that is refused where the whole need not be is that of the whole, whose body nobody reads.
    async fn at(
        &self,
        clients: &Clients,
        remote: &Sources,
        how: &How<'_>,
        (number, base): (usize, &Url),
        start: Url,
    ) -> Result<Answer, UpstreamError> {
        let mut answer = attempt::attempt(clients, remote, how, start.clone(), remote.word()).await;
        if let (How::Head, Err(error)) = (how, &answer)
            && error.kind.may_be_the_methods()
        {
            answer = attempt::attempt(clients, remote, &How::Get, start, remote.word()).await;
        }
        match answer {
            Ok(mut answer) => {
                self.ranking.answered(base);
                answer.source = number;
                Ok(answer)
            }
            Err(error) => {
                if error.kind.is_the_sources_fault() {
                    self.ranking.failed(base, Instant::now());
                }
                Err(error)
            }
        }
    }
}

fn through(proxy: &Proxy) -> Result<reqwest::Proxy, reqwest::Error> {
    let through = reqwest::Proxy::all(proxy.url.clone())?;
    Ok(match &proxy.user {
        Some(user) => through.basic_auth(user.name.expose(), user.password.expose()),
        None => through,
    })
}

fn none(remote: &Remote) -> UpstreamError {
    let kind = UpstreamErrorKind::Unreachable("no upstream is configured".into());
    UpstreamError { host: host_of(remote.home()), kind }
}

impl Upstream {
    /// A source sent something else than it should, or broke off for good.
    pub fn blame(&self, remote: &Sources, source: usize) {
        if let Some(base) = remote.url(source) {
            self.ranking.failed(base, Instant::now());
        }
    }

    /// A source sent a whole body.
    pub fn credit(&self, remote: &Sources, source: usize, bytes: u64, took: Duration) {
        if let Some(base) = remote.url(source) {
            self.ranking.sent(base, bytes, took);
        }
    }
}

/// Where `base` lists a folder; `None` is its top.
#[must_use]
pub fn folder_url(base: &Url, folder: Option<&RepoPath>) -> Url {
    let mut url = base.clone();
    if let Some(folder) = folder {
        let folder = folder.to_url_path();
        url.set_path(&format!("{}{}/", base.path(), folder.trim_end_matches('/')));
    }
    url
}

/// Of two troubles, the one to report: "absent" is only true if nobody had another trouble.
fn worse(earlier: Option<UpstreamError>, later: UpstreamError) -> UpstreamError {
    match earlier {
        Some(earlier) if !matches!(earlier.kind, UpstreamErrorKind::Absent(_)) => earlier,
        Some(earlier) if matches!(later.kind, UpstreamErrorKind::Absent(_)) => earlier,
        _ => later,
    }
}

/// Host and, if it is not the scheme's own, port.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn absent_only_if_all_agree() {
        let error = |host: &str, kind| UpstreamError { host: host.into(), kind };
        let absent = |host| error(host, UpstreamErrorKind::Absent(StatusCode::NOT_FOUND));
        let broken = |host| error(host, UpstreamErrorKind::Status(StatusCode::BAD_GATEWAY));
        assert_eq!(worse(Some(absent("a")), absent("b")).host, "a");
        assert_eq!(worse(Some(absent("a")), broken("b")).host, "b");
        assert_eq!(worse(Some(broken("a")), absent("b")).host, "a");
        assert_eq!(worse(None, absent("b")).host, "b");
    }
}
