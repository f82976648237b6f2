//! A package that was uploaded: of version 2 the file as it is, its control member's tar stream, or its .PKGINFO; of version 3 the file or
//! its values. Whatever is described, our own reader finds in an index of it, and nothing else; and the package passes the check that
//! the index asks for.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use std::io::Cursor;
use std::ops::ControlFlow;

use artifactapi_formats::publish::{HEAD, Totals, Upload};
use artifactapi_formats::{Format, RepoPath, Sha256, SigningKeys, find};
use drive::samples::alpine::{block, tar_entry};
use drive::samples::gzip;
use libfuzzer_sys::fuzz_target;

const PATH: &str = "main/x86_64/sample-1.0-r0.apk";

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 5);
    let control = match way {
        1 => gzip(rest),
        _ => gzip(&tar_entry(".PKGINFO", b'0', rest)),
    };
    let file = match way {
        0 | 3 => rest.to_vec(),
        4 => [b"ADB.pckg".to_vec(), block(0, rest)].concat(),
        _ => [&control[..], b"data"].concat(),
    };
    let publish = find("alpine").and_then(Format::publish).expect("it can be published");
    let index = find("alpine").and_then(Format::index).expect("it has indexes");
    let path = RepoPath::new(PATH).expect("a path");
    let usual = publish.root_for(&path, 2).expect("a root");
    let root = publish.root_by_content(usual.clone(), &file[..file.len().min(HEAD)]);
    let (size, sha256) = (file.len() as u64, Sha256::of(&file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at: 0 };
    let Ok(described) = publish.describe(&upload, &mut Cursor::new(&file), &drive::limits()) else { return };
    assert_eq!(described.entry.path, path);
    assert!(drive::check("alpine", PATH, Some(&described.entry.expected()), &file));
    let fragment = described.fragments.concat();
    let totals = Totals { packages: 1, bytes: fragment.len() as u64, written_at: 0 };
    let file = if root == usual {
        gzip(&[publish.open(&root, 0, &totals), fragment, publish.close(&root, 0, &totals)].concat())
    } else {
        let mut file = Vec::new();
        let composed = publish.compose(&root, &mut &fragment[..], &SigningKeys::default(), &drive::limits(), &mut file);
        composed.expect("a fragment that we made");
        file
    };
    let mut found = Vec::new();
    let read = index.packages(&root, &mut &file[..], &drive::limits(), &mut |package| {
        found.push(package);
        ControlFlow::Continue(())
    });
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(found, [described.entry]);
});
