//! What large packages take of memory.
//!
//! Of a process of its own, as each test has one: the peak is the whole process's.

use std::fmt::Write as _;

use super::*;

const MIB: usize = 1 << 20;

/// Neighbours, and what each of them contributes to the second list.
const PACKAGES: usize = 12;
const LIST: usize = 32 * MIB;

/// What each contributes to the third list, and what no compressor makes shorter.
const NOISE: usize = 3 * MIB;

/// What publishing them may take in all, in MiB: a group or two of fragments, the database's copies of them, and short texts.
const MOST: u64 = 96;

/// A number of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

fn fragments() -> Vec<Vec<u8>> {
    let mut files = String::with_capacity(LIST + 100);
    for number in 0.. {
        if files.len() >= LIST {
            break;
        }
        writeln!(files, "  <file>/usr/src/debug/kernel/include/generated/{number}.h</file>").expect("in memory");
    }
    let mut number = 1_u64;
    let mut noise = Vec::with_capacity(NOISE);
    while noise.len() < NOISE {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend((number >> 16).to_be_bytes().iter().skip(2));
    }
    vec![b"<package/>\n".to_vec(), files.into_bytes(), noise]
}

#[tokio::test(flavor = "multi_thread")]
async fn large_neighbours_are_never_held_together() {
    let house = House::new().await;
    let fragments = fragments();
    let open: u64 = fragments.iter().map(|text| text.len() as u64).sum();
    let body = chunks::packed(&fragments).expect("packed");
    drop(fragments);
    let mut changes = Vec::new();
    for number in 0..PACKAGES {
        let path = format!("el9/x86_64/p-{number:02}-1.noarch.rpm");
        changes.push(house.package_of("ours", &path, &path, body.clone()).await);
    }
    drop(body);
    // From here on the peak counts.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let before = status("VmRSS");
    let outcomes = house.publish("ours", &changes).await.expect("published");
    assert_eq!(outcomes, [Outcome::Created; PACKAGES]);
    let published = status("VmHWM");

    let repository = house.repository("ours");
    let snapshot = house.catalog.current(&root("ours")).await.expect("asked").expect("a snapshot");
    for list in ["primary", "filelists", "other"] {
        let file = snapshot.files.iter().find(|file| file.target.path.as_str().contains(list)).expect("a list");
        let mutability = repository.format.mutability(&file.target.path);
        // What it was published as is compared with what is written.
        let found = house.publisher.file_of_a_snapshot(&repository, &file.target, Role::IndexMember, &mutability).await;
        assert!(matches!(found, Ok(Some(Found::Held(_)))), "{list}");
    }
    let written = status("VmHWM");
    let text: u64 = open * PACKAGES as u64;
    let grown = [published, written].map(|peak| peak.saturating_sub(before) >> 10);
    assert!(grown.iter().all(|grown| *grown < MOST), "{grown:?} MiB for {} MiB of text", text >> 20);
}
