//! The real programs and what they made, where `tests/testbed/provide` and `fixtures/build` put them. A test never skips itself:
//! what is missing is an error that says what to run.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The path of a tool, by its key in the testbed's `env` file.
pub(crate) fn tool(key: &str) -> PathBuf {
    let folder = match std::env::var_os("ARTIFACTAPI_TESTBED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/testbed"),
    };
    let file = folder.join("env");
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}. Run tests/testbed/provide, then fixtures/build.", file.display()));
    let mut rows = text.lines().filter_map(|line| line.split_once('='));
    let (_, path) = rows.find(|(known, _)| *known == key).unwrap_or_else(|| panic!("the testbed has no {key}"));
    PathBuf::from(path)
}

/// A fresh folder for one test.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

pub(crate) fn openssl(args: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(args).output().expect("openssl, which tests/testbed/provide gets");
    assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Runs apk, which makes a new root for an ordinary user only if it is told that he is one.
pub(crate) fn apk(args: &[&str]) -> Output {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let mut command = Command::new(tool("APK"));
    if args.contains(&"--initdb") && !is_root {
        command.arg("--usermode");
    }
    command.args(args).output().expect("apk runs")
}

/// The stanzas that `apk index` writes for these files each with its blank line; with `arch` in place of their own architecture.
pub(crate) fn apk_index(folder: &Path, arch: Option<&str>, files: &[PathBuf]) -> Vec<String> {
    let out = folder.join("apk-index.tar.gz");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let mut args = ["index", "--allow-untrusted", "--output", &path(&out)].map(str::to_owned).to_vec();
    args.extend(arch.map(|arch| format!("--rewrite-arch={arch}")));
    args.extend(files.iter().map(|file| path(file)));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = apk(&args);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = tar_entry(&open_members(&fs::read(&out).expect("written")), "APKINDEX");
    text.split_inclusive("\n\n").map(str::to_owned).collect()
}

/// All gzip members of a file, opened and joined.
pub(crate) fn open_members(file: &[u8]) -> Vec<u8> {
    let mut open = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut open).expect("sound gzip");
    open
}

/// The text of an entry of a tar archive.
pub(crate) fn tar_entry(mut tar: &[u8], wanted: &str) -> String {
    while tar.len() >= 512 && tar[0] != 0 {
        let size = std::str::from_utf8(&tar[124..136]).expect("octal");
        let size = usize::from_str_radix(size.trim_end_matches(['\0', ' ']), 8).expect("octal");
        if tar[..100].split(|byte| *byte == 0).next() == Some(wanted.as_bytes()) {
            return String::from_utf8(tar[512..512 + size].to_vec()).expect("UTF-8");
        }
        tar = &tar[512 + size.next_multiple_of(512)..];
    }
    panic!("no entry {wanted}");
}
