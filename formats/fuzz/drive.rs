//! What the fuzz targets share: formats driven as the server drives them, and what must hold whatever the bytes.
//!
//! Besides not panicking, three things must hold. The verdict does not depend on how the bytes arrive. A list and the
//! check of the file that holds it agree. Whatever path an index names is a path that a client could ask for. And nothing
//! is said to be signed but what the keys of the fixtures signed.

#![allow(dead_code, reason = "each target uses some of it")]

#[path = "../tests/samples/mod.rs"]
pub mod samples;

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use artifactapi_formats::publish::{Described, Totals, Upload};
use artifactapi_formats::{
    Expected, Format, IndexFormat, IndexRoot, Invalid, Limits, PackageEntry, RepoPath, Sha256, TrustedKeys, find,
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

/// The verdict on an entry whose bytes arrive so many at a time; what it says, for comparing.
pub fn verify(
    name: &str,
    entry: &str,
    file: &[u8],
    companions: &[(&str, &[u8])],
    keys: &TrustedKeys,
    piece: usize,
) -> Result<String, String> {
    let (_, index) = format(name);
    let root = IndexRoot { entry: RepoPath::new(entry).expect("a path") };
    let companions: Vec<(RepoPath, Vec<u8>)> =
        companions.iter().map(|(path, bytes)| (RepoPath::new(path).expect("a path"), bytes.to_vec())).collect();
    let mut reader = InPieces { file: Cursor::new(file), piece };
    let verdict = index.verify(&root, &mut reader, &companions, keys, NOW, &limits());
    verdict.map(|signed| signed.to_string()).map_err(|why| why.to_string())
}

/// A day after the fixtures' keys and signatures were made.
const NOW: u64 = 1_735_689_600 + 86_400;

struct InPieces<'f> {
    file: Cursor<&'f [u8]>,
    piece: usize,
}

impl Read for InPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.piece);
        self.file.read(&mut buffer[..most])
    }
}

impl Seek for InPieces<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// OpenPGP packets in armor.
pub fn armored(label: &str, packets: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(packets);
    format!("-----BEGIN PGP {label}-----\n\n{text}\n-----END PGP {label}-----\n").into_bytes()
}

/// What an ADB file is once its container is opened; itself when it is in none, or in one that is broken.
pub fn opened(file: &[u8]) -> Vec<u8> {
    let mut open = Vec::new();
    let read = match file.get(..4) {
        Some(b"ADBd") => flate2::read::DeflateDecoder::new(&file[4..]).read_to_end(&mut open),
        Some(b"ADBc") if file.get(4) == Some(&1) => flate2::read::DeflateDecoder::new(&file[6..]).read_to_end(&mut open),
        Some(b"ADBc") if file.get(4) == Some(&2) => {
            zstd::stream::read::Decoder::new(&file[6..]).and_then(|mut decoder| decoder.read_to_end(&mut open))
        }
        _ => return file.to_vec(),
    };
    let _ = read;
    open
}

/// The payload of the first block of an ADB file.
pub fn values(file: &[u8]) -> Vec<u8> {
    let open = opened(file);
    let word = u32::from_le_bytes(open[8..12].try_into().expect("four bytes"));
    let size = (word & 0x3fff_ffff) as usize;
    open[12..8 + size].to_vec()
}

pub fn contains(bytes: &[u8], part: Vec<u8>) -> bool {
    bytes.windows(part.len().max(1)).any(|window| window == part)
}

/// A panic that the code under test contains is told, and the run goes on; libFuzzer's own hook would end it before it can be contained.
/// One that gets out ends the run all the same.
pub fn tell_of_contained_panics() {
    std::panic::set_hook(Box::new(|panic| eprintln!("PANIC {panic}")));
}

/// Takes the first byte as a choice among `ways`, so that a target can go past a layer that mutation never passes.
pub fn choose(input: &[u8], ways: u8) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (first % ways, rest))
}
