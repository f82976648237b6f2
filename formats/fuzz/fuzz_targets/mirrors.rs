//! Mirror lists of every kind.
#![no_main]

#[path = "../drive.rs"]
mod drive;

use artifactapi_formats::rpm::mirrors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(list) = mirrors::read(input, &drive::limits()) else { return };
    assert!(list.mirrors.is_sorted_by(|a, b| a.preference >= b.preference));
    for mirror in &list.mirrors {
        assert!(mirror.base_url.ends_with('/') && mirror.preference <= 100);
    }
});
