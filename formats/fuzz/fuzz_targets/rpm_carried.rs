//! Files that an index carries beside its lists; the first byte says which. What is taken can be joined with
//! others, and what comes of that is taken again.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use std::io::{Cursor, Read};

use artifactapi_formats::{Format, RepoPath, find};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, content)) = input.split_first() else { return };
    let names = ["comps.xml", "updateinfo.xml", "modules.yaml", "productid", "comps.xml.gz", "modules.yaml.zst"];
    let name = names[usize::from(*which) % names.len()];
    let path = RepoPath::new(&format!("repodata/{name}")).expect("a path");
    let rpm = find("rpm").and_then(Format::publish).expect("a format that is written");
    let kind = rpm.carried_kind(&path).expect("it is carried");
    let (limits, mut whole) = (drive::limits(), content);
    let is_taken = rpm.check_carried(&kind, &path, &mut whole, &limits).is_ok();
    // An entry of a long file may be longer than any that is joined.
    let Some(joined_name) = rpm.joined_name(&kind) else { return };
    if is_taken && !name.ends_with(['z', 't']) && content.len() < 32 << 10 {
        let of = || -> Box<dyn Read + Send> { Box::new(Cursor::new(content.to_vec())) };
        let mut joined = Vec::new();
        rpm.join(&kind, &mut [of(), of()], &limits, &mut joined).expect("it can be joined");
        let path = RepoPath::new(&format!("repodata/{joined_name}")).expect("a path");
        rpm.check_carried(&kind, &path, &mut &joined[..], &limits).expect("and is what it was");
    }
});
