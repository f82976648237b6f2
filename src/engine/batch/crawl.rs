//! Files that upstream's directory listings link to.
//!
//! A generic repository has no index, but many servers list their folders as HTML. [`find`] walks down from a folder, one
//! listing at a time so that upstream sees one polite visitor, and hands out the files. It only ever goes down
//! ([`listing`](super::listing)), skips folders in which nothing can match ([`literal`](super::literal)), and every dimension
//! of it is bounded: a page that links to itself for ever ends at a limit, and the batch says so.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

use artifactapi_formats::{RepoPath, Role};

use super::links::Links;
use super::listing::Listed;
use super::literal::{can_hold, literal_start};
use super::report::Reason;
use super::request::Look;
use super::{BatchParts, Finds};
use crate::upstream::{Answer, Sources, folder_url};

/// The most listings read for one request.
const LISTINGS: usize = 2_000;

/// The most bytes of one listing that are read.
const LISTING_BYTES: u64 = 16 << 20;

/// The most different files and folders taken from one listing.
const LINKS: usize = 100_000;

/// How many folders deep below the start a crawl goes.
const DEPTH: usize = 16;

/// Media types that may be listings.
const HTML: [&str; 2] = ["text/html", "application/xhtml+xml"];

/// A walk through folders.
struct Walk<'a> {
    remote: &'a Sources,
    /// What every match begins with: the request's, and one for each of the repository's patterns.
    wanted: &'a str,
    admitted: Option<Vec<String>>,
    depth: usize,
    queue: VecDeque<String>,
    seen: HashSet<String>,
    /// Whether a limit kept folders from being looked at.
    cut: bool,
}

/// Finds the files below a folder.
pub(super) async fn find(parts: &BatchParts, look: &Look, finds: &Finds<'_>) -> ControlFlow<()> {
    let repository = &finds.batch.repository;
    let remote = match parts.fills.sources(repository, Role::Listing).await {
        Ok(sources) => sources,
        Err(error) => return finds.trouble(look.below.as_str(), Reason::from(&error)).await,
    };
    let include = repository.patterns.include();
    let mut walk = Walk {
        remote: &remote,
        wanted: &look.literal,
        admitted: include.map(|patterns| patterns.iter().map(|pattern| literal_start(pattern)).collect()),
        depth: depth_of(&look.below) + DEPTH,
        queue: VecDeque::from([look.below.clone()]),
        seen: HashSet::from([look.below.clone()]),
        cut: false,
    };
    while let Some(folder) = walk.queue.pop_front() {
        walk.visit(parts, &folder, finds).await?;
    }
    if walk.cut {
        let why = format!(
            "not every folder was looked at: {LISTINGS} listings or {DEPTH} folders deep is the most; ask for a folder further down"
        );
        finds.trouble(look.below.as_str(), why).await?;
    }
    ControlFlow::Continue(())
}

impl Walk<'_> {
    async fn visit(&mut self, parts: &BatchParts, folder: &str, finds: &Finds<'_>) -> ControlFlow<()> {
        let path = match folder {
            "" => None,
            folder => match RepoPath::new(&format!("{folder}/")) {
                Ok(path) => Some(path),
                Err(why) => return finds.trouble(folder, why).await,
            },
        };
        let mut answer = match parts.fills.upstream().list(self.remote, path.as_ref()).await {
            Ok(answer) => answer,
            Err(error) => return finds.trouble(folder, Reason::from(&error)).await,
        };
        if !is_html(&answer) {
            let kind = answer.content_type.as_deref().unwrap_or("without a type");
            return finds.trouble(folder, format!("upstream's answer is no listing of a folder but {kind}")).await;
        }
        let base = self.remote.url(answer.source).unwrap_or_else(|| self.remote.home());
        let asked = folder_url(base, path.as_ref());
        let listed = Listed { folder, asked, answered: answer.url.clone() };
        let mut links = Links::default();
        let (mut hrefs, mut taken, mut read) = (Vec::new(), HashSet::new(), 0);
        while let Some(piece) = answer.body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return finds.trouble(folder, Reason::from(&error)).await,
            };
            read += piece.len() as u64;
            links.push(&piece, &mut |href| hrefs.push(href));
            for href in hrefs.drain(..) {
                let Some(path) = listed.names(&href) else { continue };
                if taken.insert(path.clone()) {
                    self.take(path, finds).await?;
                }
            }
            if read > LISTING_BYTES || taken.len() > LINKS {
                let why =
                    format!("the listing is longer than {LISTING_BYTES} bytes or {LINKS} links; the rest was not read");
                return finds.trouble(folder, why).await;
            }
        }
        ControlFlow::Continue(())
    }

    async fn take(&mut self, path: RepoPath, finds: &Finds<'_>) -> ControlFlow<()> {
        if let Some(folder) = path.as_str().strip_suffix('/') {
            self.enter_later(folder);
            return ControlFlow::Continue(());
        }
        match finds.batch.repository.format.classify(&path) {
            Role::Listing => ControlFlow::Continue(()),
            _ => finds.file(path, 0).await,
        }
    }

    fn enter_later(&mut self, folder: &str) {
        let worth_it = can_hold(folder, self.wanted)
            && self.admitted.as_ref().is_none_or(|literals| literals.iter().any(|literal| can_hold(folder, literal)));
        if !worth_it || self.seen.contains(folder) {
            return;
        }
        if self.seen.len() >= LISTINGS || depth_of(folder) > self.depth {
            self.cut = true;
            return;
        }
        self.seen.insert(folder.to_owned());
        self.queue.push_back(folder.to_owned());
    }
}

fn depth_of(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { 1 + folder.matches('/').count() }
}

fn is_html(answer: &Answer) -> bool {
    let said = answer.content_type.as_deref().unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    HTML.iter().any(|html| media_type.eq_ignore_ascii_case(html))
}
