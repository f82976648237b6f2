//! Real indexes and packages of public repositories, in the folder that `ARTIFACTAPI_CORPUS` names.
//!
//! Every file is read or checked as the server would, and the findings are compared with what is known of the corpus:
//! counts, the oracle's lists, and the files that are wrong on purpose. A file that nobody expected to be wrong fails a
//! test, and so does a trap that was not found.

mod alpine;
#[path = "../publishing/mod.rs"]
mod publishing;
mod rpm;
mod rpm_publish;
#[path = "../testbed/mod.rs"]
mod testbed;

use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use artifactapi_formats::{
    Algorithm, Digest, Expected, Format, Identity, IndexFormat, IndexRoot, Invalid, Limits, PackageEntry, RepoPath,
    Sha256, find,
};

/// The corpus's folder. There is no skipping: whoever asked for these tests has one.
fn corpus() -> PathBuf {
    let folder = std::env::var_os("ARTIFACTAPI_CORPUS").expect("ARTIFACTAPI_CORPUS names the folder of the corpus");
    let folder = PathBuf::from(folder);
    assert!(folder.join("MANIFEST.tsv").is_file(), "{} is no corpus", folder.display());
    folder
}

/// Every file below `folder` whose name `is` takes, as paths relative to the corpus, sorted.
fn files(folder: &str, is: impl Fn(&str) -> bool) -> Vec<RepoPath> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("readable").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let corpus = corpus();
    let mut found = Vec::new();
    walk(&corpus.join(folder), &mut found);
    let mut paths: Vec<_> = found
        .iter()
        .filter_map(|path| path.strip_prefix(&corpus).ok()?.to_str())
        .filter_map(|path| RepoPath::new(path).ok())
        .filter(|path| is(path.file_name()))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing of the kind below {folder}");
    paths
}

fn format(name: &str) -> &'static dyn Format {
    find(name).expect("a known format")
}

fn index(name: &str) -> &'static dyn IndexFormat {
    format(name).index().expect("a format with indexes")
}

fn root(entry: &str) -> IndexRoot {
    IndexRoot { entry: RepoPath::new(entry).expect("a path") }
}

fn read(path: &RepoPath) -> Vec<u8> {
    fs::read(corpus().join(path.as_str())).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &RepoPath) -> bool {
    corpus().join(path.as_str()).is_file()
}

/// A digest as the server's spool tells it.
fn told(digest: Digest) -> Sha256 {
    Identity::File(digest).sha256().expect("SHA-256")
}

/// Runs the checker that the server would run on this file, in the server's manner.
fn check(format: &dyn Format, path: &RepoPath, expected: Option<&Expected>) -> Result<(), Invalid> {
    let mut checker = format.checker(path, expected, &Limits::default()).expect("such files have a checker");
    let mut file = File::open(corpus().join(path.as_str())).expect("readable");
    let (mut buffer, mut sha256) = (vec![0; 4096], Algorithm::Sha256.hasher());
    loop {
        match file.read(&mut buffer).expect("readable") {
            0 => return checker.finish(&mut file, &told(sha256.finish())),
            read => {
                sha256.update(&buffer[..read]);
                checker.update(&buffer[..read])?;
            }
        }
    }
}

/// The packages of a list, which must be readable.
fn packages(index: &dyn IndexFormat, root: &IndexRoot, list: &RepoPath) -> Vec<PackageEntry> {
    let mut file = File::open(corpus().join(list.as_str())).expect("readable");
    let mut all = Vec::new();
    let read = index.packages(root, &mut file, &Limits::default(), &mut |package| {
        all.push(package);
        ControlFlow::Continue(())
    });
    read.unwrap_or_else(|invalid| panic!("{list}: {invalid}"));
    all
}
