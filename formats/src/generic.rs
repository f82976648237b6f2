//! Plain files over HTTP, and what every format shares: media types and the names of checksum lists.
//!
//! A generic repository promises nothing about its files, so neither does this module: every file may change, no bytes
//! can be checked, and there is no index. What an operator knows better is said in remotes.yaml (`file_ttl`, patterns).
//!
//! Everything here is asked once or more per request, by name alone: it never allocates and never fails.

use crate::{Checker, Expected, Format, IndexFormat, Limits, Mutability, RepoPath, Role};

/// The format of `package: "generic"`.
#[derive(Debug, Clone, Copy)]
pub struct Generic;

impl Format for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn classify(&self, path: &RepoPath) -> Role {
        if is_listing(path) { Role::Listing } else { Role::File }
    }

    fn mutability(&self, _path: &RepoPath) -> Mutability {
        Mutability::Mutable
    }

    fn checker(&self, _path: &RepoPath, _expected: Option<&Expected>, _limits: &Limits) -> Option<Box<dyn Checker>> {
        None
    }

    fn index(&self) -> Option<&dyn IndexFormat> {
        None
    }
}

/// Whether `path` names a directory listing: made by a server for people, different on each mirror, never kept.
pub(crate) fn is_listing(path: &RepoPath) -> bool {
    path.is_directory() || path.file_name() == "index.html"
}

/// Whether `name` is a list of checksums or a checksum beside its file. It follows files that change (FORMATS 4).
pub(crate) fn is_checksums(name: &str) -> bool {
    const PREFIXES: [&str; 7] =
        ["CHECKSUM", "MD5SUMS", "SHA1SUMS", "SHA256SUMS", "SHA512SUMS", "sha256sum", "sha512sum"];
    const SUFFIXES: [&str; 9] =
        [".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512", ".sha256sum", ".sha512sum", "-CHECKSUM"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether `name` is of a kind that is published once under a version and left alone: disk images, archives.
pub(crate) fn is_versioned_archive(name: &str) -> bool {
    const KINDS: [&str; 14] = [
        ".iso", ".qcow2", ".img", ".raw.xz", ".vmdk", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst",
        ".zip", ".raw.zst", ".box",
    ];
    KINDS.iter().any(|kind| name.ends_with(kind)) && has_version(name)
}

/// Whether a part of `name` begins with a digit, as versions and dates do: `alpine-virt-3.22.1-x86_64.iso`. A name that
/// calls itself the latest moves on, whatever else it says.
fn has_version(name: &str) -> bool {
    let is_version =
        |part: &str| part.strip_prefix('v').unwrap_or(part).starts_with(|first: char| first.is_ascii_digit());
    name.split('-').skip(1).any(is_version) && !name.contains("latest")
}

/// What a file without a telling name is.
const OCTETS: &str = "application/octet-stream";

/// The media type of `path`, by the end of its name.
///
/// A compressed file is what it is compressed with (`.tar.gz` is gzip), because it is sent as stored and never with a
/// `Content-Encoding` (FORMATS 3.7).
#[must_use]
pub fn content_type(path: &RepoPath) -> &'static str {
    let name = path.file_name();
    by_extension(name).unwrap_or(if is_text_by_name(name) { "text/plain" } else { OCTETS })
}

fn by_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    let mut lower = [0; LONGEST_EXTENSION];
    let lower = lower.get_mut(..extension.len())?;
    lower.copy_from_slice(extension.as_bytes());
    lower.make_ascii_lowercase();
    let row = TYPES.binary_search_by_key(&&*lower, |(extension, _)| extension.as_bytes()).ok()?;
    TYPES.get(row).map(|(_, kind)| *kind)
}

fn is_text_by_name(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["README", "LICENSE", "COPYING", "EULA", "MIRRORS", "last-updated", "mirrorlist", "RPM-GPG-KEY"];
    is_checksums(name) || NAMES.iter().any(|prefix| name.starts_with(prefix))
}

const LONGEST_EXTENSION: usize = 10;

/// Extension (lower case) to media type, sorted by extension.
static TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("adb", OCTETS),
    ("apk", OCTETS),
    ("asc", "application/pgp-signature"),
    ("bz2", "application/x-bzip2"),
    ("conf", "text/plain"),
    ("cpio", "application/x-cpio"),
    ("crt", "application/x-x509-ca-cert"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("deb", "application/vnd.debian.binary-package"),
    ("discinfo", "text/plain"),
    ("dmg", "application/x-apple-diskimage"),
    ("drpm", "application/x-rpm"),
    ("exe", "application/vnd.microsoft.portable-executable"),
    ("gif", "image/gif"),
    ("gpg", "application/pgp-keys"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ini", "text/plain"),
    ("iso", "application/x-iso9660-image"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("key", "application/pgp-keys"),
    ("list", "text/plain"),
    ("log", "text/plain"),
    ("lz", "application/x-lzip"),
    ("lzma", "application/x-lzma"),
    ("manifest", "text/plain"),
    ("md", "text/markdown"),
    ("md5", "text/plain"),
    ("meta4", "application/metalink4+xml"),
    ("metalink", "application/metalink+xml"),
    ("mirrorlist", "text/plain"),
    ("msi", "application/x-msi"),
    ("ndjson", "application/x-ndjson"),
    ("pdf", "application/pdf"),
    ("pem", "application/x-pem-file"),
    ("png", "image/png"),
    ("pub", "text/plain"),
    ("qcow2", "application/x-qemu-disk"),
    ("repo", "text/plain"),
    ("rpm", "application/x-rpm"),
    ("sh", "application/x-sh"),
    ("sha1", "text/plain"),
    ("sha224", "text/plain"),
    ("sha256", "text/plain"),
    ("sha256sum", "text/plain"),
    ("sha384", "text/plain"),
    ("sha512", "text/plain"),
    ("sha512sum", "text/plain"),
    ("sig", "application/pgp-signature"),
    ("sqlite", "application/vnd.sqlite3"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tbz", "application/x-bzip2"),
    ("tgz", "application/gzip"),
    ("toml", "application/toml"),
    ("treeinfo", "text/plain"),
    ("txt", "text/plain"),
    ("txz", "application/x-xz"),
    ("tzst", "application/zstd"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("whl", "application/zip"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zck", OCTETS),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).expect(text)
    }

    #[test]
    fn files_and_listings() {
        let table = [
            ("a/b.tar.gz", Role::File),
            ("a/SHA256SUMS", Role::File),
            ("a/", Role::Listing),
            ("a/index.html", Role::Listing),
            ("APKINDEX.tar.gz", Role::File),
            ("repodata/repomd.xml", Role::File),
        ];
        for (text, role) in table {
            assert_eq!(Generic.classify(&path(text)), role, "{text}");
            assert_eq!(Generic.mutability(&path(text)), Mutability::Mutable, "{text}");
        }
    }

    #[test]
    fn the_table_of_types_is_sorted_and_fits() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
        for (extension, _) in TYPES {
            assert!(
                extension.len() <= LONGEST_EXTENSION && *extension == extension.to_ascii_lowercase(),
                "{extension}"
            );
        }
    }

    #[test]
    fn types() {
        let table = [
            ("a/x-1.0.tar.gz", "application/gzip"),
            ("a/X.TAR.GZ", "application/gzip"),
            ("a/x.tgz", "application/gzip"),
            ("a/x.zip", "application/zip"),
            ("a/x.rpm", "application/x-rpm"),
            ("a/x.apk", "application/octet-stream"),
            ("repodata/repomd.xml", "application/xml"),
            ("a/repomd.xml.asc", "application/pgp-signature"),
            ("a/SHA256SUMS", "text/plain"),
            ("a/Fedora-Server-42-1.1-x86_64-CHECKSUM", "text/plain"),
            ("a/terragrunt_linux_amd64", "application/octet-stream"),
            ("a/x.averylongextensionindeed", "application/octet-stream"),
            ("a.b/", "application/octet-stream"),
        ];
        for (text, kind) in table {
            assert_eq!(content_type(&path(text)), kind, "{text}");
        }
    }
}
