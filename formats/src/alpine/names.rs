//! What a path of an Alpine repository is, by its name (FORMATS 4).
//!
//! One rule per row, first match wins. Nothing here opens a file, and nothing allocates: it runs on every request.

use crate::generic::{is_checksums, is_listing, is_versioned_archive};
use crate::{Mutability, RepoPath, Role};

/// Whether a file name is that of an index in either format.
pub(super) fn is_entry(name: &str) -> bool {
    is_v2_entry(name) || name.ends_with(".adb")
}

/// The names that clients look for in the folder of an architecture (FORMATS 1.1, 2.2).
pub(super) const ENTRIES: [&str; 2] = ["APKINDEX.tar.gz", "Packages.adb"];

/// Whether a file name is that of a v2 index.
pub(super) fn is_v2_entry(name: &str) -> bool {
    name == "APKINDEX.tar.gz"
}

pub(super) fn classify(path: &RepoPath) -> Role {
    let name = path.file_name();
    if is_listing(path) {
        Role::Listing
    } else if name.ends_with(".apk") {
        Role::Package
    } else if is_entry(name) || is_bulletin(path) {
        Role::Index
    } else {
        Role::File
    }
}

pub(super) fn mutability(path: &RepoPath) -> Mutability {
    let name = path.file_name();
    // `latest-stable` moves to another branch, and with it everything below, packages too: the new branch may have
    // built the same version again.
    let moves = in_folder(path, |folder| folder == "latest-stable");
    let lasts = name.ends_with(".apk") || name.ends_with(".rsa.pub") || is_release(path);
    if lasts && !moves { Mutability::ByConvention } else { Mutability::Mutable }
}

/// Files that change in place and are small: they are treated like an index although they name no packages.
fn is_bulletin(path: &RepoPath) -> bool {
    const NAMES: [&str; 5] =
        ["latest-releases.yaml", "releases.json", "MIRRORS.txt", "last-updated", "apk-configuration"];
    let name = path.file_name();
    NAMES.contains(&name) || in_folder(path, |folder| folder == "netboot") || (is_checksums(name) && !is_release(path))
}

/// An image below `releases/` with a version in its name, or a checksum or signature that travels with one.
fn is_release(path: &RepoPath) -> bool {
    const TRAVELLERS: [&str; 3] = [".sha256", ".sha512", ".asc"];
    let name = path.file_name();
    let file = TRAVELLERS.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    in_folder(path, |folder| folder == "releases") && is_versioned_archive(file)
}

fn in_folder(path: &RepoPath, is: impl Fn(&str) -> bool) -> bool {
    path.folder().split('/').any(is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mutability::{ByConvention, Mutable};

    #[test]
    fn the_table() {
        let table = [
            ("v3.22/main/x86_64/APKINDEX.tar.gz", Role::Index, Mutable),
            ("APKINDEX.tar.gz", Role::Index, Mutable),
            ("packages/x86_64/base/packages.adb", Role::Index, Mutable),
            ("x86_64/Packages.adb", Role::Index, Mutable),
            ("v3.22/main/x86_64/musl-1.2.5-r10.apk", Role::Package, ByConvention),
            ("v3.22/main/x86_64/x-1.0_git2020~abc-r1.apk", Role::Package, ByConvention),
            ("latest-stable/main/x86_64/musl-1.2.5-r10.apk", Role::Package, Mutable),
            ("v3.22/releases/x86_64/latest-releases.yaml", Role::Index, Mutable),
            ("v3.22/releases/x86_64/alpine-virt-3.22.1-x86_64.iso", Role::File, ByConvention),
            ("v3.22/releases/x86_64/alpine-minirootfs-3.22.1-x86_64.tar.gz", Role::File, ByConvention),
            ("v3.22/releases/x86_64/alpine-minirootfs-3.22.1-x86_64.tar.gz.sha256", Role::File, ByConvention),
            ("v3.22/releases/x86_64/alpine-virt-3.22.1-x86_64.iso.asc", Role::File, ByConvention),
            ("latest-stable/releases/x86_64/alpine-virt-3.22.1-x86_64.iso", Role::File, Mutable),
            ("v3.22/releases/x86_64/netboot/vmlinuz-virt", Role::Index, Mutable),
            ("keys/alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub", Role::File, ByConvention),
            ("releases.json", Role::Index, Mutable),
            ("MIRRORS.txt", Role::Index, Mutable),
            ("last-updated", Role::Index, Mutable),
            ("x86_64/apk-configuration", Role::Index, Mutable),
            ("other/SHA256SUMS", Role::Index, Mutable),
            ("other/README", Role::File, Mutable),
            ("v3.22/main/x86_64/", Role::Listing, Mutable),
            ("v3.22/index.html", Role::Listing, Mutable),
        ];
        for (text, role, mutability_of) in table {
            let path = RepoPath::new(text).expect(text);
            assert_eq!((classify(&path), mutability(&path)), (role, mutability_of), "{text}");
        }
    }
}
