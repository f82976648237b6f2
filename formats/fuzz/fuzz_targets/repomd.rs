//! `repomd.xml`, and every other file whose first bytes are looked at.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use libfuzzer_sys::fuzz_target;

const ENTRY: &str = "9/os/repodata/repomd.xml";

fuzz_target!(|input: &[u8]| {
    assert_eq!(drive::members("rpm", ENTRY, input), drive::check("rpm", ENTRY, None, input));
    for path in
        ["repodata/comps.xml", "repodata/repomd.xml.asc", "repodata/x.xml.gz", "mirrorlist", ".treeinfo", "a.drpm"]
    {
        drive::check("rpm", path, None, input);
    }
});
