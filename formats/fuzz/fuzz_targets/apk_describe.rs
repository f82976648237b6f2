//! A v2 package that was uploaded: the file as it is, its control member's tar stream, or its .PKGINFO. Whatever is described, our own
//! reader finds in an index of it, and nothing else; and the package passes the check that the index asks for.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use std::io::Cursor;
use std::ops::ControlFlow;

use artifactapi_formats::publish::{Totals, Upload};
use artifactapi_formats::{Format, RepoPath, Sha256, find};
use drive::samples::alpine::tar_entry;
use drive::samples::gzip;
use libfuzzer_sys::fuzz_target;

const PATH: &str = "main/x86_64/sample-1.0-r0.apk";

fuzz_target!(|input: &[u8]| {
    let (way, rest) = drive::choose(input, 3);
    let control = match way {
        1 => gzip(rest),
        _ => gzip(&tar_entry(".PKGINFO", b'0', rest)),
    };
    let file = if way == 0 { rest.to_vec() } else { [&control[..], b"data"].concat() };
    let publish = find("alpine").and_then(Format::publish).expect("it can be published");
    let index = find("alpine").and_then(Format::index).expect("it has indexes");
    let path = RepoPath::new(PATH).expect("a path");
    let root = publish.root_for(&path, 2).expect("a root");
    let (size, sha256) = (file.len() as u64, Sha256::of(&file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at: 0 };
    let Ok(described) = publish.describe(&upload, &mut Cursor::new(&file), &drive::limits()) else { return };
    assert_eq!(described.entry.path, path);
    assert!(drive::check("alpine", PATH, Some(&described.entry.expected()), &file));
    let fragment = described.fragments.concat();
    let totals = Totals { packages: 1, bytes: fragment.len() as u64, written_at: 0 };
    let file = gzip(&[publish.open(0, &totals), fragment, publish.close(0, &totals)].concat());
    let mut found = Vec::new();
    let read = index.packages(&root, &mut &file[..], &drive::limits(), &mut |package| {
        found.push(package);
        ControlFlow::Continue(())
    });
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(found, [described.entry]);
});
