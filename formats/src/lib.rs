//! Repository formats as pure code: bytes in, values out.
//!
//! This crate knows what a path *is* ([`Format::classify`]), what an index *says* ([`IndexFormat`]) and whether bytes
//! are what they claim to be ([`Checker`]). It does no I/O of its own, knows no clock, no HTTP and no store; whatever it
//! reads is bounded by [`Limits`].
//!
//! # How to add a format
//! 1. Make a folder beside `alpine/` and `rpm/` with a type that implements [`Format`].
//! 2. If the format has indexes, let [`Format::index`] return an [`IndexFormat`].
//! 3. Add one row to [`FORMATS`], the table below. `package: "<name>"` in remotes.yaml now selects it; routing, caching,
//!    freshness, checks and prefetch come from the engine, which names no format anywhere.
//!
//! `tests/fourth_format.rs` does just that with a format made for the test.

pub mod alpine;
mod check;
pub mod decompress;
pub mod digest;
mod expected;
mod format;
pub mod generic;
mod index;
mod invalid;
pub mod limits;
pub mod mirrors;
pub mod path;
pub mod pieces;
pub mod publish;
mod registry;
pub mod rpm;
pub mod trust;

#[cfg(test)]
#[path = "../tests/samples/mod.rs"]
mod samples;

pub use digest::{Algorithm, Digest, Hasher, InvalidDigest, Sha256};
pub use expected::{Expected, Identity};
pub use format::{Checker, Format, Mutability, ReadSeek, Role};
pub use index::{IndexFormat, IndexLayout, IndexRoot, Member, PackageEntry};
pub use invalid::Invalid;
pub use limits::Limits;
pub use mirrors::MirrorFormat;
pub use path::{InvalidPath, RepoPath};
pub use publish::PublishFormat;
pub use registry::Formats;
pub use trust::{
    InvalidKey, KeyKind, OpenPgpKey, OpenPgpKind, RsaDigest, RsaKey, RsaKeyPair, SignedBy, SigningKey, SigningKeys,
    TrustedKeys, Untrusted, generate_rsa,
};

/// Every format there is. Adding one is adding a row.
pub static FORMATS: Formats = Formats::of(&[&generic::Generic, &alpine::Alpine, &rpm::Rpm]);

/// The format that `package: "<name>"` selects.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Format> {
    FORMATS.find(name)
}

/// The names that `package:` takes, for error messages.
pub fn names() -> impl Iterator<Item = &'static str> {
    FORMATS.names()
}
