//! RPM repositories: `repodata/repomd.xml`, what it names, and the packages (FORMATS 3).
//!
//! `repomd.xml` is the only true index: it names every other metadata file with size and digest. Its signature and key
//! lie beside it as companions; the package list is the member called `primary`.

mod checkers;
mod header;
pub mod mirrors;
mod names;
mod package;
mod place;
mod primary;
mod publish;
mod repomd;
mod signature;
#[cfg(test)]
mod tests;
mod version;
mod whole_header;
mod xml;

use std::borrow::Cow;
use std::io::Read;
use std::ops::ControlFlow;

use crate::mirrors::{ListKind, MirrorFormat, MirrorList, OnlyMirror};
use crate::{
    Checker, Expected, Format, IndexFormat, IndexLayout, IndexRoot, Invalid, KeyKind, Limits, Member, Mutability,
    PackageEntry, PublishFormat, ReadSeek, RepoPath, Role, SignedBy, TrustedKeys, Untrusted,
};

/// The format of `package: "rpm"`.
#[derive(Debug, Clone, Copy)]
pub struct Rpm;

impl Format for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn classify(&self, path: &RepoPath) -> Role {
        names::classify(path)
    }

    fn mutability(&self, path: &RepoPath) -> Mutability {
        names::mutability(path)
    }

    fn content_type(&self, path: &RepoPath) -> &'static str {
        names::content_type(path)
    }

    fn checker(&self, path: &RepoPath, expected: Option<&Expected>, limits: &Limits) -> Option<Box<dyn Checker>> {
        checkers::checker(path, expected, limits)
    }

    fn query_key<'q>(&self, _path: &RepoPath, query: &'q str) -> Option<Cow<'q, str>> {
        names::query_key(query)
    }

    fn index(&self) -> Option<&dyn IndexFormat> {
        Some(self)
    }

    fn publish(&self) -> Option<&dyn PublishFormat> {
        Some(self)
    }

    fn mirrors(&self) -> Option<&dyn MirrorFormat> {
        Some(self)
    }
}

impl MirrorFormat for Rpm {
    fn kind_of(&self, path: &RepoPath) -> Option<ListKind> {
        names::list_kind(path)
    }

    fn root_beside(&self, path: &RepoPath) -> Option<IndexRoot> {
        names::root_beside(path)
    }

    fn read(&self, list: &[u8], limits: &Limits) -> Result<Option<MirrorList>, Invalid> {
        mirrors::read_any(list, limits)
    }

    fn write(&self, kind: ListKind, only: &OnlyMirror<'_>) -> String {
        mirrors::write(kind, only)
    }
}

impl IndexFormat for Rpm {
    fn root_of(&self, path: &RepoPath) -> Option<IndexRoot> {
        names::root_of(path)
    }

    fn entries_in(&self, folder: &str) -> Vec<RepoPath> {
        names::entry_in(folder).into_iter().collect()
    }

    fn layout(&self, root: &IndexRoot) -> IndexLayout {
        names::layout(root)
    }

    fn is_signature(&self, companion: &RepoPath) -> bool {
        companion.file_name().ends_with(".asc")
    }

    fn is_about_another(&self, companion: &RepoPath, content: &[u8], entry: &[u8], limits: &Limits) -> bool {
        self.is_signature(companion) && crate::trust::is_over_something_else(entry, content, limits)
    }

    fn members(&self, root: &IndexRoot, entry: &[u8], limits: &Limits) -> Result<Vec<Member>, Invalid> {
        repomd::read(&names::layout(root), entry, limits).map(|repomd| repomd.members)
    }

    fn made_at(&self, root: &IndexRoot, entry: &[u8], limits: &Limits) -> Option<u64> {
        repomd::read(&names::layout(root), entry, limits).ok()?.made_at
    }

    fn package_list(&self, _root: &IndexRoot, members: &[Member]) -> Option<RepoPath> {
        members.iter().find(|member| member.kind == "primary").map(|member| member.path.clone())
    }

    fn packages(
        &self,
        root: &IndexRoot,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(PackageEntry) -> ControlFlow<()>,
    ) -> Result<(), Invalid> {
        primary::packages(&names::layout(root).folder, from, limits, each)
    }

    fn key_kind(&self) -> Option<KeyKind> {
        Some(KeyKind::Certificate)
    }

    fn verify(
        &self,
        root: &IndexRoot,
        entry: &mut dyn ReadSeek,
        companions: &[(RepoPath, Vec<u8>)],
        keys: &TrustedKeys,
        now: u64,
        limits: &Limits,
    ) -> Result<SignedBy, Untrusted> {
        signature::verify(root, entry, companions, keys, now, limits)
    }
}
