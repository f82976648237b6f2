//! Lists of mirrors that clients ask us for.
//!
//! A list that is passed on as it is sends clients past us, to places that have what we do not hold and were never asked about.
//! So what we offer is a list of our own: one place, this server, and the entry that is served here now. [`Reader::offer`] finds
//! out which root that is about; the format writes it, and `http` knows under which name the client reached us.
//!
//! Where the configuration names a list, the list is about the top of the repository. Everywhere else there must be one
//! upstream: its own word decides, then where it lies. A list about something that does not lie here is not offered at all.

use std::sync::Arc;

use artifactapi_formats::mirrors::{ListKind, MirrorList};
use artifactapi_formats::{IndexFormat, IndexRoot, Limits, MirrorFormat, RepoPath, Role};
use bytes::Bytes;
use url::Url;

use super::generation::Given;
use super::{ReadError, Reader, Reading, Source, Wish};
use crate::config::{Admission, Kind, Repository, Whereabouts};
use crate::engine::content::Opened;
use crate::engine::fill::FillError;
use crate::engine::held::Held;
use crate::spool::SpoolError;
use crate::store::key::Target;

/// How often a file that is still on its way is waited for.
const ARRIVALS: usize = 3;

/// What a list of ours is about.
#[derive(Debug)]
pub struct Offer {
    /// The folder of the root; `""` is the top of the repository.
    pub folder: String,
    /// The entry that is served there now.
    pub entry: Arc<Held>,
    /// How that came about.
    pub source: Source,
}

/// What asking for a list comes to.
#[derive(Debug)]
pub enum Listing {
    /// A list of ours.
    Ours(Offer),
    /// A file that is about something else than an index, as it is.
    Theirs(Reading),
}

impl Reader {
    /// What a wish for a list of mirrors is answered with. Whoever is told the digest of an entry is given that entry when he asks
    /// for it next, whatever is switched in between.
    ///
    /// # Errors
    /// [`ReadError`] when there is no such list, it cannot be read, or it is about nothing that lies here.
    pub async fn offer(
        &self,
        wish: &Wish,
        index: &dyn IndexFormat,
        mirrors: &dyn MirrorFormat,
        kind: ListKind,
    ) -> Result<Listing, ReadError> {
        let beside = mirrors.root_beside(&wish.target.path);
        let roots = match beside {
            Some(root) if is_listed(&wish.repository) && index.layout(&root).folder.is_empty() => vec![root],
            beside => {
                let theirs = Wish { head_only: false, range: None, ..wish.clone() };
                let bytes = self.bytes_of(&theirs).await?;
                match mirrors.read(&bytes, &Limits::default()) {
                    Ok(Some(list)) => self.roots_in(&list, index, beside, wish).await,
                    Ok(None) => return self.read(wish).await.map(Listing::Theirs),
                    Err(why) => return Err(FillError::Spool(SpoolError::Invalid(why.into())).into()),
                }
            }
        };
        for root in roots {
            match self.entry(wish, &root).await {
                Ok((entry, source)) => {
                    if let (Some(client), true) = (wish.client, kind != ListKind::Plain) {
                        let (root, entry) = (&entry.artifact.target, entry.artifact.sha256);
                        let standing = self.switches.notice_entry(&wish.repository, root, &entry).await;
                        let promised_for = Some(wish.repository.cache.pin);
                        self.note_handout(client, Given { root, entry, standing, promised_for }).await;
                    }
                    return Ok(Listing::Ours(Offer { folder: index.layout(&root).folder, entry, source }));
                }
                Err(ReadError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::Absent(
            "there is a list of mirrors, but what it is about does not lie in this repository; let clients use its URL here \
             as baseurl, or make it a repository with mirrorlist or metalink"
                .to_owned(),
        ))
    }

    /// The roots that an upstream's list may be about: what it says of places that are ours, then where it lies.
    async fn roots_in(
        &self,
        list: &MirrorList,
        index: &dyn IndexFormat,
        beside: Option<IndexRoot>,
        wish: &Wish,
    ) -> Vec<IndexRoot> {
        let mut roots: Vec<IndexRoot> = Vec::new();
        let mut add = |entry: RepoPath| {
            let root = IndexRoot { entry };
            if !roots.contains(&root) {
                roots.push(root);
            }
        };
        if let Kind::Remote(_) = &wish.repository.kind
            && let Ok(sources) = self.fills.sources(&wish.repository, Role::File).await
        {
            let named = list.mirrors.iter().filter_map(|mirror| Url::parse(&mirror.base_url).ok());
            for folder in named.filter_map(|url| sources.urls().iter().find_map(|base| folder_below(base, &url))) {
                index.entries_in(&folder).into_iter().for_each(&mut add);
            }
        }
        let folder = wish.target.path.folder();
        beside.map(|root| root.entry).into_iter().chain(index.entries_in(folder)).for_each(&mut add);
        roots
    }

    /// The entry of a root as it is given to whoever has heard nothing of it: a list says what is new.
    async fn entry(&self, wish: &Wish, root: &IndexRoot) -> Result<(Arc<Held>, Source), ReadError> {
        let repository = &wish.repository;
        let Admission::Admitted = repository.patterns.admits(root.entry.as_str(), Role::Index) else {
            return Err(ReadError::Absent("the repository's patterns do not admit its index".to_owned()));
        };
        // As a HEAD: the whole is waited for.
        let target = Target::new(repository.name.clone(), root.entry.clone());
        let wish = Wish { target, role: Role::Index, head_only: true, range: None, client: None, ..wish.clone() };
        self.whole(&wish).await
    }

    /// Reads something until it is held.
    async fn whole(&self, wish: &Wish) -> Result<(Arc<Held>, Source), ReadError> {
        for _ in 0..ARRIVALS {
            match self.read(wish).await? {
                Reading::Held { held, source, .. } => return Ok((held, source)),
                // How it ended is what the next look finds.
                Reading::Growing { mut fill, .. } => drop(fill.settled().await),
                Reading::Through { .. } | Reading::Head(_) => break,
            }
        }
        Err(ReadError::Unreadable("it is not kept, and a list of mirrors needs it; try again later".to_owned()))
    }

    /// The bytes of something small.
    async fn bytes_of(&self, wish: &Wish) -> Result<Bytes, ReadError> {
        let most = Limits::default().entry_bytes;
        let (held, _) = self.whole(wish).await?;
        let away = || ReadError::Unreadable("its bytes cannot be read now; try again later".to_owned());
        let opened = Opened::held(&held, &*self.blobs).await.map_err(|_| away())?;
        opened.content().ok_or_else(away)?.bytes(most + 1).await.map_err(|_| away())
    }
}

/// Whether a list says where the repository, or one that it is made of, is to be had.
fn is_listed(repository: &Repository) -> bool {
    match &repository.kind {
        Kind::Remote(remote) => matches!(remote.whereabouts, Whereabouts::Listed(_)),
        Kind::Virtual(all) => all.members.iter().any(|member| is_listed(member)),
        Kind::Local(_) => false,
    }
}

/// The folder of the repository that a mirror's URL is, if it lies below one of the sources.
fn folder_below(base: &Url, url: &Url) -> Option<String> {
    let raw = Some(url).filter(|url| url.origin() == base.origin())?.path().strip_prefix(base.path())?;
    match raw.trim_end_matches('/') {
        "" => Some(String::new()),
        raw => RepoPath::decode(raw).ok().map(|folder| folder.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_ours() {
        let folder = |base: &str, url: &str| folder_below(&base.parse().expect(base), &url.parse().expect(url));
        let base = "http://a.example/pub/";
        assert_eq!(folder(base, "http://a.example/pub/"), Some(String::new()));
        assert_eq!(folder(base, "http://a.example/pub/9/x%2By/"), Some("9/x+y".to_owned()));
        for other in
            ["http://b.example/pub/9/", "https://a.example/pub/9/", "http://a.example/public/", "http://a.example/"]
        {
            assert_eq!(folder(base, other), None, "{other}");
        }
    }
}
