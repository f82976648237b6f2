//! What the fuzz targets share: formats driven as the server drives them, and what must hold whatever the bytes.
//!
//! Besides not panicking, three things must hold. The verdict does not depend on how the bytes arrive. A list and the
//! check of the file that holds it agree. Whatever path an index names is a path that a client could ask for.

#![allow(dead_code, reason = "each target uses some of it")]

#[path = "../tests/samples/mod.rs"]
pub mod samples;

use std::io::Cursor;
use std::ops::ControlFlow;

use artifactapi_formats::publish::{Described, Totals, Upload};
use artifactapi_formats::{
    Expected, Format, IndexFormat, IndexRoot, Invalid, Limits, PackageEntry, RepoPath, Sha256, find,
};

/// Small ones: a run should meet them often.
pub fn limits() -> Limits {
    Limits {
        entry_bytes: 1 << 20,
        open_bytes: 8 << 20,
        ratio_free_bytes: 1 << 20,
        packages: 1000,
        members: 100,
        mirrors: 100,
        text_bytes: 64 << 10,
        depth: 16,
        control_bytes: 1 << 20,
        adb_bytes: 1 << 20,
        header_bytes: 1 << 20,
        fragment_bytes: 1 << 20,
        decompressor_bytes: 8 << 20,
        ..Limits::default()
    }
}

fn format(name: &str) -> (&'static dyn Format, &'static dyn IndexFormat) {
    let format = find(name).expect("a known format");
    (format, format.index().expect("a format with indexes"))
}

fn run(
    format: &dyn Format,
    path: &RepoPath,
    expected: Option<&Expected>,
    file: &[u8],
    piece: usize,
) -> Result<(), Invalid> {
    let mut checker = format.checker(path, expected, &limits()).expect("such files have a checker");
    for piece in file.chunks(piece) {
        checker.update(piece)?;
    }
    checker.finish(&mut Cursor::new(file), &Sha256::of(file))
}

/// Checks a file in one piece and in many.
pub fn check(name: &str, path: &str, expected: Option<&Expected>, file: &[u8]) -> bool {
    let (format, _) = format(name);
    let path = RepoPath::new(path).expect("a path");
    let whole = run(format, &path, expected, file, file.len().max(1));
    let pieces = run(format, &path, expected, file, 7);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} against {pieces:?}");
    whole.is_ok()
}

/// Reads a package list; says whether it was valid.
pub fn list(name: &str, entry: &str, mut file: &[u8]) -> bool {
    let (format, index) = format(name);
    let root = IndexRoot { entry: RepoPath::new(entry).expect("a path") };
    let read = index.packages(&root, &mut file, &limits(), &mut |package| {
        look_at(format, &package);
        ControlFlow::Continue(())
    });
    read.is_ok()
}

fn look_at(format: &dyn Format, package: &PackageEntry) {
    assert!(!package.path.is_directory());
    assert_eq!(RepoPath::decode(&package.path.to_url_path()).as_ref(), Ok(&package.path));
    assert_eq!(package.identity.to_string().parse().as_ref(), Ok(&package.identity));
    let _ = (format.classify(&package.path), format.mutability(&package.path), format.content_type(&package.path));
}

/// Reads an entry's members; says whether it was valid.
pub fn members(name: &str, entry: &str, file: &[u8]) -> bool {
    let (format, index) = format(name);
    let root = IndexRoot { entry: RepoPath::new(entry).expect("a path") };
    let Ok(members) = index.members(&root, file, &limits()) else { return false };
    for member in &members {
        assert!(!member.path.is_directory() && member.path != root.entry);
        let _ = (format.classify(&member.path), format.mutability(&member.path));
    }
    let _ = index.package_list(&root, &members);
    true
}

/// Describes an rpm package under the name that its header gives it. What is taken can be read back out of the list that
/// it is put into, and is what was said of it.
pub fn describe(file: &[u8]) -> bool {
    let said = match describe_as("sample-1.0-1.noarch.rpm", file) {
        Ok(described) => return described,
        Err(invalid) => invalid.to_string(),
    };
    let own = said.split_once("by its header it is ").and_then(|(_, said)| said.split_once("; upload it"));
    own.is_some_and(|(name, _)| RepoPath::new(name).is_ok() && describe_as(name, file).unwrap_or(false))
}

fn describe_as(name: &str, file: &[u8]) -> Result<bool, Invalid> {
    let (format, index) = format("rpm");
    let publish = format.publish().expect("a format that publishes");
    let path = RepoPath::new(name).expect("a path");
    let root = publish.root_for(&path, 0)?;
    let (size, sha256) = (file.len() as u64, Sha256::of(file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at: 1_700_000_000 };
    let Described { entry, fragments } = publish.describe(&upload, &mut Cursor::new(file), &limits())?;
    assert_eq!(fragments.len(), publish.lists().len());
    let totals = Totals { packages: 1, bytes: 0, written_at: 0 };
    let list = [publish.open(&root, 0, &totals), fragments[0].clone(), publish.close(&root, 0, &totals)].concat();
    let mut found = Vec::new();
    let read = index.packages(&root, &mut &list[..], &limits(), &mut |package| {
        found.push(package);
        ControlFlow::Continue(())
    });
    read.expect("a list that we wrote");
    assert_eq!(found, [entry]);
    Ok(true)
}

/// Takes the first byte as a choice among `ways`, so that a target can go past a layer that mutation never passes.
pub fn choose(input: &[u8], ways: u8) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (first % ways, rest))
}
