//! The server that files are sent to: where it is, in whose name it is asked, and what it says when it refuses.
//!
//! The token goes to that server and nowhere else: redirects are not followed, and it is in no message. The administrator's
//! own token is used for the server on this machine only, never for one that `--server` names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use artifactapi_formats::RepoPath;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use serde::Deserialize;
use url::Url;

use crate::causes::with_causes;
use crate::cli::health::reachable;
use crate::config::{Secret, Settings};
use crate::engine::callers::FIRST_TOKEN_FILE;
use crate::store::key::RepositoryName;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);

/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The longest time in which the server takes no byte, or has them all and says nothing.
pub(super) const SILENCE: Duration = Duration::from_secs(300);

/// Where to send to, and in whose name.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct To {
    /// The server's URL; without it, the server on this machine (ARTIFACTAPI_LISTEN).
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// A token that may write. Others on this machine can see it here; --token-file and ARTIFACTAPI_TOKEN hide it.
    #[arg(long, value_parser = secret, conflicts_with = "token_file")]
    token: Option<Secret>,
    /// A file with such a token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The most files that are sent at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
}

/// A server, and what it takes to ask it.
#[derive(Debug)]
pub(in crate::cli) struct Server {
    client: Client,
    /// Its path ends in a slash.
    base: Url,
    parallel: u16,
}

/// A repository on a server.
#[derive(Debug)]
pub(in crate::cli) struct Destination {
    pub(in crate::cli) name: RepositoryName,
    /// Its format's name; `None` if the token may not read it, and the server tells nothing of it.
    pub(in crate::cli) package: Option<String>,
    /// Whether a file that can be read there is one that was put there.
    pub(super) holds_what_it_shows: bool,
}

#[derive(Debug, Deserialize)]
struct Overview {
    repositories: Vec<Told>,
}

/// A repository, as the server tells of it.
#[derive(Debug, Deserialize)]
struct Told {
    name: String,
    r#type: String,
    package: String,
}

/// An answer that says why not.
#[derive(Debug, Deserialize)]
struct Refusal {
    detail: String,
}

impl To {
    /// The server that is meant.
    ///
    /// # Errors
    /// When its URL or the token cannot be used.
    pub(in crate::cli) fn server(&self, settings: &Settings) -> Result<Server, String> {
        let base = match &self.server {
            Some(url) => base_of(url)?,
            None => {
                let url = format!("http://{}/", reachable(settings.listen));
                Url::parse(&url).map_err(|why| format!("{url} is no URL: {why}"))?
            }
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token_for(settings)? {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| "the token holds characters that no token has")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Whoever installed one before us has chosen; there is only one choice here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("artifactapi/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .default_headers(headers);
        // What listens on this machine is not reached through anybody's proxy.
        let client = if self.server.is_some() { client } else { client.no_proxy() };
        let client = client.build().map_err(|why| format!("the HTTP client cannot be set up: {why}"))?;
        Ok(Server { client, base, parallel: self.parallel })
    }

    /// The token, from the first place that has one.
    fn token_for(&self, settings: &Settings) -> Result<Option<Secret>, String> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        if let Some(file) = &self.token_file {
            let token = read(file).map_err(|why| format!("{} cannot be read: {why}", file.display()))?;
            return token.map(Some).ok_or_else(|| format!("{} is empty", file.display()));
        }
        if settings.token.is_some() || self.server.is_some() {
            return Ok(settings.token.clone());
        }
        Ok(token_on_this_machine(settings))
    }
}

/// The token for the server on this machine: whoever may read its settings or its data folder is the administrator; who may not has
/// to bring a token.
pub(in crate::cli) fn token_on_this_machine(settings: &Settings) -> Option<Secret> {
    let first = || read(&settings.data_dir.join(FIRST_TOKEN_FILE)).ok().flatten();
    settings.token.clone().or_else(|| settings.admin_token.clone()).or_else(first)
}

impl Server {
    /// The most files to be sent at once.
    pub(super) fn parallel(&self) -> usize {
        self.parallel.into()
    }

    /// The client, which presents the token by itself.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Where a file of a repository is.
    pub(super) fn url_of(&self, repository: &RepositoryName, path: &RepoPath) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}api/{repository}/{}", self.base.path(), path.to_url_path()));
        url
    }

    /// Asks what the server tells of a repository.
    ///
    /// # Errors
    /// When it cannot be asked, refuses the token, or the repository takes no uploads.
    pub(in crate::cli) async fn destination(&self, name: &RepositoryName) -> Result<Destination, String> {
        let asked = self.client.get(self.base.clone()).header(ACCEPT, "application/json").send();
        let answer = in_time(asked).await?.map_err(|why| self.not_reached(why))?;
        if !answer.status().is_success() {
            return Err(format!("the server refuses: {}", refusal(answer).await));
        }
        let overview = serde_json::from_slice::<Overview>(&body(answer).await?);
        let overview = overview.map_err(|_| format!("what answers at {} is not artifactapi", self.base))?;
        let told = overview.repositories.into_iter().find(|told| told.name == name.as_str());
        let kind = told.as_ref().map(|told| &*told.r#type);
        if kind == Some("remote") {
            return Err(format!("repository {name} is of type remote, which takes no uploads"));
        }
        let holds_what_it_shows = kind == Some("local");
        Ok(Destination { name: name.clone(), package: told.map(|told| told.package), holds_what_it_shows })
    }

    /// Why nobody answered.
    pub(super) fn not_reached(&self, why: reqwest::Error) -> String {
        format!("the server at {} does not answer: {}", self.base, with_causes(&why.without_url()))
    }
}

/// Waits no longer than a server may be silent.
pub(super) async fn in_time<T>(waiting: impl Future<Output = T>) -> Result<T, String> {
    within(SILENCE, waiting).await
}

async fn within<T>(limit: Duration, waiting: impl Future<Output = T>) -> Result<T, String> {
    let minutes = limit.as_secs() / 60;
    tokio::time::timeout(limit, waiting).await.map_err(|_| format!("for {minutes} minutes the server said nothing"))
}

/// What an answer that is not the one hoped for says.
pub(super) async fn refusal(answer: Response) -> String {
    let status = answer.status();
    if let Some(elsewhere) = answer.headers().get(reqwest::header::LOCATION).filter(|_| status.is_redirection()) {
        let elsewhere = elsewhere.to_str().unwrap_or_default();
        return format!("{status}: the files are to go to {elsewhere}; name that server with --server");
    }
    let said = body(answer).await.unwrap_or_default();
    serde_json::from_slice::<Refusal>(&said).map_or_else(|_| status.to_string(), |refusal| refusal.detail)
}

/// The body of an answer, bounded.
pub(super) async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        let frame = in_time(answer.chunk())
            .await?
            .map_err(|why| format!("the server's answer broke off: {}", with_causes(&why)))?;
        match frame {
            None => return Ok(all),
            Some(frame) if all.len() + frame.len() > MAX_ANSWER => return Err("the answer is too long".to_owned()),
            Some(frame) => all.extend_from_slice(&frame),
        }
    }
}

/// A URL that paths can be appended to.
fn base_of(url: &Url) -> Result<Url, String> {
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err("--server takes a URL such as https://artifacts.example.org".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("--server takes a URL without user and password; give the token with --token-file".to_owned());
    }
    let mut base = url.clone();
    base.set_path(&format!("{}/", url.path().trim_end_matches('/')));
    Ok(base)
}

/// The token in a file; a line end after it is dropped.
fn read(file: &Path) -> std::io::Result<Option<Secret>> {
    std::fs::read_to_string(file).map(|text| Secret::new(text.trim_end()))
}

fn secret(text: &str) -> Result<Secret, &'static str> {
    Secret::new(text).ok_or("it is empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Url, String> {
        base_of(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn servers() {
        let table = [
            ("http://localhost:8000", Some("http://localhost:8000/")),
            ("https://example.org/artifacts", Some("https://example.org/artifacts/")),
            ("https://example.org/artifacts/", Some("https://example.org/artifacts/")),
            ("ftp://example.org", None),
            ("https://example.org/?a=b", None),
            ("https://ci:planted@example.org/", None),
        ];
        for (url, base) in table {
            let read = server(url);
            assert_eq!(read.as_ref().ok().map(Url::as_str), base, "{url}");
            assert!(!read.is_err_and(|why| why.contains("planted")), "{url}");
        }
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let silent = std::future::pending::<()>();
        assert!(within(Duration::from_millis(1), silent).await.is_err_and(|why| why.contains("said nothing")));
        assert_eq!(in_time(std::future::ready(5)).await, Ok(5));
    }

    #[test]
    fn the_token_comes_from_the_first_place_that_has_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "of-a-file\n").expect("written");
        std::fs::write(folder.path().join(FIRST_TOKEN_FILE), "of-the-first-start\n").expect("written");
        let data = folder.path().display().to_string();
        let settings = |pairs: &'static [(&str, &str)]| {
            let lookup = |name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
                found.or_else(|| (name == "ARTIFACTAPI_DATA_DIR").then(|| data.clone()))
            };
            Settings::from_env(&lookup).expect("fine")
        };
        let to = |token: Option<&str>, file: Option<&Path>, server: Option<&str>| To {
            server: server.map(|url| Url::parse(url).expect("a URL")),
            token: token.and_then(Secret::new),
            token_file: file.map(Path::to_owned),
            parallel: 1,
        };
        const BOTH: &[(&str, &str)] =
            &[("ARTIFACTAPI_TOKEN", "of-the-environment"), ("ARTIFACTAPI_ADMIN_TOKEN", "of-the-administrator")];
        const ADMIN: &[(&str, &str)] = &[("ARTIFACTAPI_ADMIN_TOKEN", "of-the-administrator")];
        let elsewhere = Some("https://example.org");
        let table = [
            (to(Some("given"), None, None), BOTH, Some("given")),
            (to(None, Some(&file), None), BOTH, Some("of-a-file")),
            (to(None, None, None), BOTH, Some("of-the-environment")),
            (to(None, None, elsewhere), BOTH, Some("of-the-environment")),
            (to(None, None, None), ADMIN, Some("of-the-administrator")),
            (to(None, None, None), &[], Some("of-the-first-start")),
            // Nobody else is told what the administrator of this machine is known by.
            (to(None, None, elsewhere), ADMIN, None),
        ];
        for (to, pairs, token) in table {
            let found = to.token_for(&settings(pairs)).expect("readable");
            assert_eq!(found.as_ref().map(Secret::expose), token, "{to:?}");
        }
        let missing = to(None, Some(&folder.path().join("nothing")), None);
        assert!(missing.token_for(&settings(&[])).is_err());
    }
}
