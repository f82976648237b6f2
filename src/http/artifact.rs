//! `GET|HEAD /api/{repository}/{path}`: the contract of DESIGN 8 for reading.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::mirrors::ListKind;
use artifactapi_formats::{IndexFormat, MirrorFormat, RepoPath, Role};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use axum::response::Response;
use bytes::Bytes;
use ipnet::IpNet;

use super::access::{Gate, keep_private};
use super::body::{Origin, ServedBody};
use super::client::{ConnectionNumber, client_id};
use super::conditional::{Verdict, evaluate, has_conditions, range_applies};
use super::deliver::{
    Status, finish, growing, insert, only_head, origin, source_headers, through, unsatisfiable, whole_or_parts,
};
use super::error::Problem;
use super::fast::Fast;
use super::folder;
use super::headers::Representation;
use super::mirror_list;
use super::range::{self, Ranges};
use crate::access::Grant;
use crate::config::{Admission, Kind, LiveRepositories, Repository};
use crate::engine::counts::RepositoryCounts;
use crate::engine::generations::When;
use crate::engine::held::Held;
use crate::engine::read::{self, Listing, Reader, Reading, Source, Wish};
use crate::store::blobs::{self, BlobBody, BlobStore};
use crate::store::catalog::Catalog;
use crate::store::key::Target;

/// The longest query of a file, in bytes. It is a part of the file's name everywhere: in the catalog, in memory, in the log.
const MAX_QUERY_BYTES: usize = 2 << 10;

/// What reading is done with.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Artifacts {
    pub repositories: Arc<LiveRepositories>,
    pub reader: Arc<Reader>,
    pub blobs: Arc<dyn BlobStore>,
    pub catalog: Arc<dyn Catalog>,
    pub fast: Arc<Fast>,
    pub gate: Arc<Gate>,
    pub trusted_proxies: Arc<[IpNet]>,
}

/// Answers `GET` and `HEAD`.
///
/// # Errors
/// [`Problem`] with the status that DESIGN 8 and the list of bad input give it.
pub async fn get(State(artifacts): State<Artifacts>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let connection = parts.extensions.get::<ConnectionNumber>().copied();
    let head_only = parts.method == Method::HEAD;
    let generation = artifacts.fast.generation();
    let is_listed = |repository: &Arc<Repository>| matches!(repository.kind, Kind::Local(_));
    if let Some((repository, folder)) = folder_of(&artifacts.repositories, &parts.uri, is_listed)? {
        artifacts.gate.authorize(&parts, &repository, Grant::Read).await?;
        let listing = folder::list(&*artifacts.catalog, &repository, &folder, &parts).await?;
        return Ok(keep_private(listing, &repository));
    }
    let Named { repository, target, when } = resolve(&artifacts.repositories, &parts.uri)?;
    artifacts.gate.authorize(&parts, &repository, Grant::Read).await?;
    let counts = artifacts.reader.counts().of(&repository.name);
    let role = repository.format.classify(&target.path);
    match repository.patterns.admits(target.path.as_str(), role) {
        Admission::Admitted => {}
        refused => {
            counts.refused.inc();
            return Err(Problem::not_admitted(&repository, target.path.as_str(), &refused));
        }
    }
    // A condition is about the content that is on its way, whose validators are known at its end. What is passed through beside it
    // may be another. And only a GET has ranges (RFC 9110, 14.2).
    let range = parts.headers.get(header::RANGE).filter(|_| !head_only && !has_conditions(&parts.headers));
    let range = range.and_then(|range| range.to_str().ok());
    let wish = Wish {
        repository: Arc::clone(&repository),
        target,
        role,
        head_only,
        no_cache: says_no_cache(&parts.headers),
        when,
        client: peer.map(|peer| client_id(&parts.headers, connection, peer, &artifacts.trusted_proxies)),
        range: range.and_then(range::single),
    };
    let failed = |error: read::ReadError| {
        match error {
            read::ReadError::Absent(_) => counts.absent.inc(),
            _ => counts.failed.inc(),
        };
        Problem::from_read(&error, &repository, wish.target.path.as_str())
    };
    let reading = match list_of_mirrors(&wish) {
        Some((index, mirrors, kind)) => {
            match artifacts.reader.offer(&wish, index, mirrors, kind).await.map_err(failed)? {
                Listing::Ours(offer) => {
                    let list = mirror_list::answer(&artifacts, &parts, peer, &wish, (mirrors, kind), &offer)?;
                    return Ok(keep_private(list, &repository));
                }
                Listing::Theirs(reading) => reading,
            }
        }
        None => artifacts.reader.read(&wish).await.map_err(failed)?,
    };
    let reading = match parts.version {
        // The end of the connection is the end of the body: one that broke off would look whole.
        Version::HTTP_10 | Version::HTTP_09 if !head_only => reading.of_known_length().await.map_err(failed)?,
        _ => reading,
    };
    let response = match reading {
        Reading::Held { held, source, fresh_for } => {
            count(&counts, source, held.artifact.size);
            held.used();
            // What is another member's tomorrow is not remembered under the name of all of them.
            let is_of_one = !matches!(repository.kind, Kind::Virtual(_));
            if source == Source::Hit && wish.when.is_none() && is_of_one {
                artifacts.fast.remember(&parts.uri, generation, &repository, &held, fresh_for, &counts);
            }
            let about = Representation::of_held(&held);
            let status = source_headers(source, fresh_for);
            let age = read::age_of(&held, source, fresh_for);
            match origin(&held) {
                Some(origin) => whole_or_parts(&parts.headers, head_only, about, &origin, &status, Some(age)),
                None => distant(&artifacts, &parts.headers, head_only, (about, age), &held, &status).await?,
            }
        }
        Reading::Growing { head, body, was_stale, .. } => {
            counts.miss.inc();
            counts.bytes.inc_by(head.size.unwrap_or(0));
            let mutability = repository.format.mutability(&wish.target.path);
            let about = Representation::of_head(&head, &wish.target.path, role, &mutability);
            let why = if was_stale { "stale" } else { "uri-miss" };
            let kept = if head.is_worth_keeping { "stored" } else { "detail=\"not stored\"" };
            let status = Status::forwarded(format_args!("{why}; {kept}"));
            growing(&parts.headers, head_only, about, body, &status)
        }
        Reading::Through { answer, head } => {
            counts.passed_through.inc();
            let mutability = repository.format.mutability(&wish.target.path);
            let about = Representation::of_head(&head, &wish.target.path, role, &mutability);
            through(&parts.headers, head_only, about, *answer)
        }
        Reading::Head(head) => {
            counts.miss.inc();
            let mutability = repository.format.mutability(&wish.target.path);
            let about = Representation::of_head(&head, &wish.target.path, role, &mutability);
            only_head(&parts.headers, about, &Status::forwarded("uri-miss"))
        }
    };
    Ok(keep_private(response, &repository))
}

/// The folder that a URI names, `""` for the top, and its repository, if it is one of those `wanted`; `None` for everything else.
///
/// # Errors
/// 400 for a path that cannot be used.
pub fn folder_of(
    repositories: &LiveRepositories,
    uri: &Uri,
    wanted: impl Fn(&Arc<Repository>) -> bool,
) -> Result<Option<(Arc<Repository>, String)>, Problem> {
    let below = uri.path().strip_prefix("/api/").unwrap_or_default();
    let (name, raw_path) = below.split_once('/').unwrap_or((below, ""));
    let is_folder = raw_path.is_empty() || raw_path.ends_with('/');
    let Some(repository) = repositories.get(name).filter(|repository| is_folder && wanted(repository)) else {
        return Ok(None);
    };
    match raw_path {
        "" => Ok(Some((repository, String::new()))),
        _ => Ok(Some((repository, resolve(repositories, uri)?.target.path.as_str().to_owned()))),
    }
}

/// The repository that a URI names, if there is one, whatever follows.
pub(super) fn repository_of(repositories: &LiveRepositories, uri: &Uri) -> Result<Arc<Repository>, Problem> {
    let (name, ..) = divided(uri);
    repositories.get(name).ok_or_else(|| Problem::no_such_repository(name))
}

/// The parts of `/api/{repository}[@{when}]/{path}`, as they are spelled.
fn divided(uri: &Uri) -> (&str, Option<&str>, &str) {
    let below = uri.path().strip_prefix("/api/").unwrap_or_default();
    let (first, raw_path) = below.split_once('/').unwrap_or((below, ""));
    // No repository's name holds an '@' (store::key).
    match first.split_once('@').or_else(|| first.split_once("%40")) {
        Some((name, when)) => (name, Some(when), raw_path),
        None => (first, None, raw_path),
    }
}

/// What a request's URI names.
#[derive(Debug)]
pub struct Named {
    /// The repository.
    pub repository: Arc<Repository>,
    /// The path below it.
    pub target: Target,
    /// The generation, if one is named.
    pub when: Option<When>,
}

/// The repository, generation and target that a request's URI names: `/api/{repository}[@{when}]/{path}`.
///
/// # Errors
/// 404 for an unknown repository, 400 for a path or a generation that is none.
pub fn resolve(repositories: &LiveRepositories, uri: &Uri) -> Result<Named, Problem> {
    let (name, when, raw_path) = divided(uri);
    let generation = |when| {
        let text = percent_encoding::percent_decode_str(when).decode_utf8_lossy();
        text.parse().map_err(|why| Problem::bad_request(format!("{text:?} after the '@' is {why}.")))
    };
    let when = when.map(generation).transpose()?;
    let repository = repositories.get(name).ok_or_else(|| Problem::no_such_repository(name))?;
    let path = RepoPath::decode(raw_path).map_err(|why| {
        let problem = Problem::bad_request(format!("The path below repository {name:?} cannot be used: {why}."));
        // GET / names this very URL.
        let hint = format!("GET /artifacts/{name} lists what is held.");
        if raw_path.is_empty() { problem.also(&hint) } else { problem }
    })?;
    let query = uri.query().unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        return Err(Problem::query_too_long(MAX_QUERY_BYTES));
    }
    let query = if query.is_empty() { None } else { repository.format.query_key(&path, query) };
    let target = Target::with_query(repository.name.clone(), path, query.as_deref().unwrap_or_default());
    Ok(Named { repository, target, when })
}

/// The list of mirrors that a path is by its name. What people have uploaded is theirs and stays as it is.
fn list_of_mirrors(wish: &Wish) -> Option<(&'static dyn IndexFormat, &'static dyn MirrorFormat, ListKind)> {
    if matches!(wish.repository.kind, Kind::Local(_)) {
        return None;
    }
    let (index, mirrors) = (wish.repository.format.index()?, wish.repository.format.mirrors()?);
    Some((index, mirrors, mirrors.kind_of(&wish.target.path)?))
}

fn says_no_cache(headers: &HeaderMap) -> bool {
    let says = |name: header::HeaderName| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|word| {
            let word = word.trim();
            word.eq_ignore_ascii_case("no-cache") || word.eq_ignore_ascii_case("max-age=0")
        })
    };
    says(header::CACHE_CONTROL) || (!headers.contains_key(header::CACHE_CONTROL) && says(header::PRAGMA))
}

pub(super) fn count(counts: &RepositoryCounts, source: Source, bytes: u64) {
    counts.bytes.inc_by(bytes);
    match source {
        Source::Hit => counts.hit.inc(),
        Source::Confirmed => counts.revalidated.inc(),
        Source::Stale => counts.stale.inc(),
        Source::Fetched | Source::Unkept => counts.miss.inc(),
    };
}

/// Something that only the store has: opened for this request, and for its one range if it asks for one.
async fn distant(
    artifacts: &Artifacts,
    asked: &HeaderMap,
    head_only: bool,
    (mut about, age): (Representation, Duration),
    held: &Arc<Held>,
    status: &Status,
) -> Result<Response, Problem> {
    let size = held.artifact.size;
    let header_range = asked.get(header::RANGE).and_then(|range| range.to_str().ok());
    let conditions_hold = evaluate(asked, about.etag.as_deref(), about.last_modified) == Verdict::Send;
    let wanted = match header_range {
        Some(range) if range_applies(asked, about.etag.as_deref(), about.last_modified) => range::resolve(range, size),
        _ => Ranges::Whole,
    };
    let (code, range) = match wanted {
        _ if head_only || !conditions_hold => {
            let nothing = Origin::Memory(Bytes::new());
            return Ok(whole_or_parts(asked, true, about, &nothing, status, Some(age)));
        }
        Ranges::Unsatisfiable => return Ok(unsatisfiable(size)),
        Ranges::Parts(parts) if parts.len() == 1 => (StatusCode::PARTIAL_CONTENT, parts[0].clone()),
        _ => (StatusCode::OK, 0..size),
    };
    let this = (size, &held.artifact.sha256);
    let read = blobs::read_this(&*artifacts.blobs, &held.artifact.blob, Some(range.clone()), this).await;
    let Some(read) = read.map_err(|error| Problem::unavailable("The store does not answer.", &error))? else {
        held.supersede();
        return Err(Problem::try_again("The stored file is missing or damaged; ask again to have it fetched anew."));
    };
    let length = range.end - range.start;
    if code == StatusCode::PARTIAL_CONTENT {
        insert(&mut about.headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    let body = match read.body {
        BlobBody::Memory(bytes) => Origin::Memory(bytes).range(range),
        BlobBody::File(file) => Origin::File(file).range(range),
        BlobBody::Growing(reader) => Origin::Growing(reader).range(range),
        BlobBody::Stream { range: covered, bytes } => ServedBody::cut(range, &covered, bytes)
            .ok_or_else(|| Problem::try_again("The store answered with other bytes; ask again."))?,
    };
    Ok(finish(code, about.headers, Some(length), status, body))
}

/// Roles whose hits depend on more than the record: they take the long way each time.
#[must_use]
pub fn depends_on_index(role: Role) -> bool {
    matches!(role, Role::IndexCompanion | Role::IndexMember | Role::Index | Role::Listing)
}
