//! What a path of an RPM repository is, by its name, and which root it belongs to (FORMATS 3.1, 4).
//!
//! The folder `repodata/` is what makes a root; everything else is known by its file name. Nothing here opens a file,
//! and only a hash-named member allocates (its digest).

use std::borrow::Cow;

use crate::generic::{self, is_checksums, is_listing, is_versioned_archive};
use crate::mirrors::ListKind;
use crate::{Algorithm, Digest, IndexLayout, IndexRoot, Mutability, RepoPath, Role};

const ENTRY: &str = "repomd.xml";
const COMPANIONS: [&str; 2] = ["repomd.xml.asc", "repomd.xml.key"];

pub(super) fn classify(path: &RepoPath) -> Role {
    let name = path.file_name();
    if is_listing(path) {
        Role::Listing
    } else if is_package(name) {
        Role::Package
    } else if is_mirror_list(name) {
        Role::Index
    } else if let Some(place) = place(path) {
        match place.below {
            ENTRY => Role::Index,
            below if COMPANIONS.contains(&below) => Role::IndexCompanion,
            _ => Role::IndexMember,
        }
    } else if !is_install_image(path) && is_bulletin(path) {
        Role::Index
    } else {
        Role::File
    }
}

pub(super) fn mutability(path: &RepoPath) -> Mutability {
    let name = path.file_name();
    if is_package(name) {
        return Mutability::ByConvention;
    }
    if place(path).is_some() {
        return digest_in(name).map_or(Mutability::Mutable, Mutability::Addressed);
    }
    if is_versioned_archive(name) && !is_install_image(path) { Mutability::ByConvention } else { Mutability::Mutable }
}

/// The digest that a member's name begins with: `<hex>-primary.xml.gz`. Its length says which algorithm.
pub(super) fn digest_in(name: &str) -> Option<Digest> {
    let (hex, _) = name.split_once('-')?;
    Digest::from_hex(Algorithm::from_hex_length(hex.len())?, hex).ok()
}

/// Whether the path is the entry of a root.
pub(super) fn is_entry(path: &RepoPath) -> bool {
    place(path).is_some_and(|place| place.below == ENTRY)
}

/// A path taken apart at its last `repodata` folder.
struct Place<'p> {
    /// The root folder with its slash, or empty.
    root: &'p str,
    /// The path below `repodata/`.
    below: &'p str,
}

fn place(path: &RepoPath) -> Option<Place<'_>> {
    const FOLDER: &str = "repodata/";
    let text = path.as_str();
    let at =
        text.match_indices(FOLDER).map(|(at, _)| at).filter(|&at| at == 0 || text.as_bytes()[at - 1] == b'/').last()?;
    let below = &text[at + FOLDER.len()..];
    (!below.is_empty()).then_some(Place { root: &text[..at], below })
}

pub(super) fn root_of(path: &RepoPath) -> Option<IndexRoot> {
    let belongs = match classify(path) {
        Role::IndexCompanion | Role::IndexMember => true,
        Role::Index => path.file_name() == ENTRY,
        _ => false,
    };
    let place = place(path).filter(|_| belongs)?;
    let entry = RepoPath::new(&format!("{}repodata/{ENTRY}", place.root)).ok()?;
    Some(IndexRoot { entry })
}

pub(super) fn entry_in(folder: &str) -> Option<RepoPath> {
    RepoPath::join(folder, &format!("repodata/{ENTRY}")).ok()
}

pub(super) fn layout(root: &IndexRoot) -> IndexLayout {
    let repodata = root.entry.folder();
    let folder = repodata.rsplit_once('/').map_or("", |(folder, _)| folder);
    let companions = COMPANIONS.iter().filter_map(|name| RepoPath::join(repodata, name).ok()).collect();
    IndexLayout { folder: folder.to_owned(), entry: root.entry.clone(), companions }
}

/// The query without `countme`, which dnf adds once a week and which changes no answer (FORMATS 3.7).
pub(super) fn query_key(query: &str) -> Option<Cow<'_, str>> {
    let counts = |pair: &&str| pair.split('=').next() == Some("countme");
    let key = if query.split('&').any(|pair| counts(&pair)) {
        Cow::Owned(query.split('&').filter(|pair| !counts(pair)).collect::<Vec<_>>().join("&"))
    } else {
        Cow::Borrowed(query)
    };
    (!key.is_empty()).then_some(key)
}

pub(super) fn content_type(path: &RepoPath) -> &'static str {
    match path.file_name() {
        "metalink" => "application/metalink+xml",
        "treeinfo" => "text/plain",
        _ => generic::content_type(path),
    }
}

fn is_package(name: &str) -> bool {
    name.ends_with(".rpm") || name.ends_with(".drpm")
}

pub(super) fn is_mirror_list(name: &str) -> bool {
    const SUFFIXES: [&str; 3] = [".mirrorlist", ".metalink", ".meta4"];
    name == "mirrorlist" || name == "metalink" || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The form of a mirror list, by its name.
pub(super) fn list_kind(path: &RepoPath) -> Option<ListKind> {
    let name = path.file_name();
    if classify(path) != Role::Index || !is_mirror_list(name) {
        return None;
    }
    Some(match name {
        name if name.ends_with(".meta4") => ListKind::Metalink4,
        name if name.ends_with("metalink") => ListKind::Metalink3,
        _ => ListKind::Plain,
    })
}

/// The root that a list is about by where it lies: `mirrorlist` and `metalink` in its folder, or one beside its entry.
pub(super) fn root_beside(path: &RepoPath) -> Option<IndexRoot> {
    list_kind(path)?;
    let folder = match path.file_name() {
        "mirrorlist" | "metalink" => path.folder(),
        "repomd.xml.metalink" | "repomd.xml.meta4" => place(path)?.root.trim_end_matches('/'),
        _ => return None,
    };
    entry_in(folder).map(|entry| IndexRoot { entry })
}

/// Files that an installer boots from: the same names after a respin, but too large to ask for again and again.
fn is_install_image(path: &RepoPath) -> bool {
    const FOLDERS: [&str; 4] = ["images", "isolinux", "EFI", "LiveOS"];
    path.folder().split('/').any(|folder| FOLDERS.contains(&folder))
}

/// Small files that change in place: they are treated like an index although they name no packages.
fn is_bulletin(path: &RepoPath) -> bool {
    const NAMES: [&str; 9] = [
        ".treeinfo",
        "treeinfo",
        ".discinfo",
        ".composeinfo",
        "media.repo",
        "extra_files.json",
        "content",
        "fullfilelist",
        "fullfiletimelist",
    ];
    const ENDS: [(&str, &str); 4] = [("", ".repo"), ("timestamp", ".txt"), ("imagelist-", ""), ("", ".iso.manifest")];
    let name = path.file_name();
    NAMES.contains(&name)
        || ENDS.iter().any(|(start, end)| name.starts_with(start) && name.ends_with(end))
        || path.folder().rsplit('/').next().is_some_and(|folder| folder == "media.1")
        || is_checksums(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).expect(text)
    }

    #[test]
    fn the_table() {
        use Mutability::{ByConvention, Mutable};
        let hex = "c5ec5880962792c5c5643dea9dae2db51eac6ef7158f879804b1d51e1ead7040";
        let named = format!("9/os/repodata/{hex}-primary.xml.gz");
        let addressed = Mutability::Addressed(Digest::from_hex(Algorithm::Sha256, hex).expect("hex"));
        let table = [
            ("9/os/repodata/repomd.xml", Role::Index, Mutable),
            ("repodata/repomd.xml", Role::Index, Mutable),
            ("repodata/repomd.xml.asc", Role::IndexCompanion, Mutable),
            ("repodata/repomd.xml.key", Role::IndexCompanion, Mutable),
            ("repodata/repomd.xml.metalink", Role::Index, Mutable),
            (named.as_str(), Role::IndexMember, addressed),
            ("repodata/primary.xml.gz", Role::IndexMember, Mutable),
            ("repodata/abc-primary.xml.gz", Role::IndexMember, Mutable),
            ("repodata/comps.xml", Role::IndexMember, Mutable),
            ("repodata/primary.sqlite.bz2", Role::IndexMember, Mutable),
            ("repodata/", Role::Listing, Mutable),
            ("repodata", Role::File, Mutable),
            ("myrepodata/repomd.xml", Role::File, Mutable),
            ("9/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm", Role::Package, ByConvention),
            ("drpms/bash-5.1-5.2.x86_64.drpm", Role::Package, ByConvention),
            ("mirrorlist", Role::Index, Mutable),
            ("metalink", Role::Index, Mutable),
            (".treeinfo", Role::Index, Mutable),
            ("9/os/treeinfo", Role::Index, Mutable),
            ("9/os/.discinfo", Role::Index, Mutable),
            ("9/os/media.repo", Role::Index, Mutable),
            ("9/os/extra_files.json", Role::Index, Mutable),
            ("compose/.composeinfo", Role::Index, Mutable),
            ("9/os/images/pxeboot/vmlinuz", Role::File, Mutable),
            ("9/os/images/boot-9.4.iso", Role::File, Mutable),
            ("isolinux/isolinux.bin", Role::File, Mutable),
            ("EFI/BOOT/grub.cfg", Role::File, Mutable),
            ("LiveOS/squashfs.img", Role::File, Mutable),
            ("RPM-GPG-KEY-AlmaLinux-9", Role::File, Mutable),
            ("key.gpg", Role::File, Mutable),
            ("docker-ce.repo", Role::Index, Mutable),
            ("timestamp.txt", Role::Index, Mutable),
            ("fullfilelist", Role::Index, Mutable),
            ("imagelist-fedora", Role::Index, Mutable),
            ("9/isos/AlmaLinux-9.4-x86_64-dvd.iso.manifest", Role::Index, Mutable),
            ("9/isos/AlmaLinux-9.4-x86_64-dvd.iso", Role::File, ByConvention),
            ("9/isos/Rocky-9-latest-x86_64-dvd.iso", Role::File, Mutable),
            ("9/isos/boot-x86_64.iso", Role::File, Mutable),
            ("9/isos/CHECKSUM", Role::Index, Mutable),
            ("media.1/media", Role::Index, Mutable),
            ("content", Role::Index, Mutable),
            ("9/os/x.sha256", Role::Index, Mutable),
            ("9/os/index.html", Role::Listing, Mutable),
            ("9/os/EULA", Role::File, Mutable),
        ];
        for (text, role, mutability_of) in table {
            assert_eq!((classify(&path(text)), mutability(&path(text))), (role, mutability_of), "{text}");
        }
    }

    #[test]
    fn roots() {
        let of = |text: &str| root_of(&path(text)).map(|root| root.entry.to_string());
        let entry = Some("9/os/repodata/repomd.xml".to_owned());
        assert_eq!(of("9/os/repodata/repomd.xml"), entry);
        assert_eq!(of("9/os/repodata/repomd.xml.asc"), entry);
        assert_eq!(of("9/os/repodata/primary.xml.gz"), entry);
        assert_eq!(of("9/os/repodata/sub/primary.xml.gz"), entry);
        assert_eq!(of("repodata/primary.xml.gz"), Some("repodata/repomd.xml".into()));
        assert_eq!(of("repodata/x/repodata/primary.xml.gz"), Some("repodata/x/repodata/repomd.xml".into()));
        for none in ["9/os/a.rpm", "9/os/repodata/", "9/os/repodata/a.rpm", ".treeinfo", "repodata/repomd.xml.metalink"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn lists_and_what_they_are_about() {
        use ListKind::{Metalink3, Metalink4, Plain};
        let top = Some("repodata/repomd.xml");
        let table = [
            ("mirrorlist", Some(Plain), top),
            ("metalink", Some(Metalink3), top),
            ("9/os/metalink", Some(Metalink3), Some("9/os/repodata/repomd.xml")),
            ("9/os/repodata/repomd.xml.metalink", Some(Metalink3), Some("9/os/repodata/repomd.xml")),
            ("repodata/repomd.xml.meta4", Some(Metalink4), top),
            ("epel-9.mirrorlist", Some(Plain), None),
            ("iso/dvd-9.4.iso.metalink", Some(Metalink3), None),
            ("repomd.xml.metalink", Some(Metalink3), None),
            ("metalink/", None, None),
            ("a.repo", None, None),
            ("repodata/repomd.xml", None, None),
        ];
        for (text, kind, root) in table {
            assert_eq!(list_kind(&path(text)), kind, "{text}");
            assert_eq!(root_beside(&path(text)).as_ref().map(|root| root.entry.as_str()), root, "{text}");
        }
    }

    #[test]
    fn the_entry_of_a_folder_makes_it_a_root() {
        for (folder, entry) in [("9/os", "9/os/repodata/repomd.xml"), ("", "repodata/repomd.xml")] {
            let found = entry_in(folder).expect(folder);
            assert_eq!(found.as_str(), entry);
            assert_eq!(root_of(&found), Some(IndexRoot { entry: found }));
        }
    }

    #[test]
    fn layouts() {
        let of = |text: &str| layout(&IndexRoot { entry: path(text) });
        let deep = of("9/os/repodata/repomd.xml");
        assert_eq!(deep.folder, "9/os");
        assert_eq!(deep.companions, [path("9/os/repodata/repomd.xml.asc"), path("9/os/repodata/repomd.xml.key")]);
        assert_eq!(of("repodata/repomd.xml").folder, "");
    }

    #[test]
    fn countme_is_dropped_and_nothing_else() {
        let table = [
            ("repo=epel-9&arch=x86_64&countme=1", Some("repo=epel-9&arch=x86_64")),
            ("countme=4&repo=a+b%20c", Some("repo=a+b%20c")),
            ("countme=4", None),
            ("", None),
            ("repo=a&countmes=1", Some("repo=a&countmes=1")),
        ];
        for (query, key) in table {
            assert_eq!(query_key(query).as_deref(), key, "{query}");
        }
    }
}
