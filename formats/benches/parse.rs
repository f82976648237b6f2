//! How fast indexes are read and packages checked, and that memory does not grow with them.
//!
//! `cargo bench -p artifactapi-formats [-- LABEL…]` prints one line per measurement, as `key=value` pairs: bytes of open
//! text (or of the file, for checks), MB/s by the clock and by the processor time used (the better figure on a machine
//! that does other things too), each the best of several runs, and how much the process's peak memory grew while reading.
//! The inputs are made here, as large as the largest public repositories, and are written to files so that they do not
//! count as memory.

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use artifactapi_formats::{Format, IndexRoot, Limits, RepoPath, Sha256, find};

const RPM_PACKAGES: usize = 60_000;
const APK_PACKAGES: usize = 25_000;

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let file = std::env::temp_dir().join(format!("artifactapi-formats-bench-{}", std::process::id()));
    let mut out = std::io::stdout().lock();
    for (label, measure) in
        ROWS.iter().filter(|(label, _)| wanted.is_empty() || wanted.iter().any(|word| word == label))
    {
        writeln!(out, "{}", measure(label, &file)).expect("a line");
    }
    fs::remove_file(&file).expect("the input goes again");
}

/// A measurement's label and how it is made.
type Row = (&'static str, fn(&str, &Path) -> String);

static ROWS: &[Row] = &[
    ("apkindex", |label, file| apkindex(label, file, APK_PACKAGES)),
    ("apkindex-x4", |label, file| apkindex(label, file, 4 * APK_PACKAGES)),
    ("primary-plain", |label, file| primary(label, file, RPM_PACKAGES, <[u8]>::to_vec)),
    ("primary-plain-x4", |label, file| primary(label, file, 4 * RPM_PACKAGES, <[u8]>::to_vec)),
    ("primary-gz", |label, file| primary(label, file, RPM_PACKAGES, samples::gzip)),
    ("primary-zst", |label, file| primary(label, file, RPM_PACKAGES, samples::zstd)),
    ("primary-xz", |label, file| primary(label, file, RPM_PACKAGES, samples::xz)),
    ("primary-bz2", |label, file| primary(label, file, RPM_PACKAGES, samples::bzip2)),
    ("check-apk", |label, file| {
        let apk = samples::alpine::Apk::with_data("sample", "1.0-r0", noise());
        check(label, "alpine", "main/x86_64/sample-1.0-r0.apk", file, &apk.file())
    }),
    ("check-rpm", |label, file| {
        let rpm = samples::rpm::Rpm::with_payload(samples::rpm::Kind::Modern, noise());
        check(label, "rpm", "os/sample-1.0-1.noarch.rpm", file, &rpm.file())
    }),
];

fn apkindex(label: &str, file: &Path, count: usize) -> String {
    let text = apkindex_text(count);
    fs::write(file, samples::alpine::index(&text)).expect("room for an input");
    let open = text.len();
    drop(text);
    list(label, "alpine", "main/x86_64/APKINDEX.tar.gz", file, open, count)
}

fn primary(label: &str, file: &Path, count: usize, pack: fn(&[u8]) -> Vec<u8>) -> String {
    let xml = primary_xml(count);
    fs::write(file, pack(xml.as_bytes())).expect("room for an input");
    let open = xml.len();
    drop(xml);
    list(label, "rpm", "os/repodata/repomd.xml", file, open, count)
}

/// Content that does not compress.
fn noise() -> Vec<u8> {
    (0..1_u32 << 24).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn apkindex_text(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let sha1 = samples::sha1(&number.to_le_bytes());
        text.push_str(&samples::alpine::stanza(&format!("package-{number}"), "1.2.3_git20250101-r4", "x86_64", &sha1));
    }
    text
}

fn primary_xml(count: usize) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{count}\">\n"
    );
    for number in 0..count {
        let name = format!("package-{number}");
        let checksum = samples::sha256(&number.to_le_bytes());
        let href = format!("Packages/p/{name}-1.2.3-4.el9.x86_64.rpm");
        xml.push_str(&samples::rpm::primary_package(&name, &href, &checksum));
    }
    xml.push_str("</metadata>\n");
    xml
}

/// A small input is read again and again for so long: five times in a few milliseconds say little.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

/// By the clock, and by the processor time used.
struct Took {
    clock: Duration,
    processor: Duration,
}

/// The best of several runs: what the code can do, without what else the machine was doing.
fn best(mut run: impl FnMut()) -> Took {
    let mut best = Took { clock: Duration::MAX, processor: Duration::MAX };
    let began = Instant::now();
    let mut runs = 0;
    while runs < 5 || began.elapsed() < LONG_ENOUGH {
        runs += 1;
        let (clock, processor) = (Instant::now(), processor_time());
        run();
        best.clock = best.clock.min(clock.elapsed());
        best.processor = best.processor.min(processor_time() - processor);
    }
    best
}

/// What this thread has used so far; Linux counts it in nanoseconds.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let used = stat.split(' ').next().and_then(|used| used.parse().ok()).expect("a number");
    Duration::from_nanos(used)
}

fn row(label: &str, bytes: usize, took: &Took, grew: u64) -> String {
    let speed = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    let (clock, processor) = (speed(took.clock), speed(took.processor));
    format!("bench={label} bytes={bytes} mb_per_s={clock:.0} cpu_mb_per_s={processor:.0} peak_growth_kib={grew}")
}

fn list(label: &str, format: &str, entry: &str, file: &Path, open: usize, count: usize) -> String {
    let index = find(format).and_then(Format::index).expect("a format with indexes");
    let root = IndexRoot { entry: RepoPath::new(entry).expect("a path") };
    let limits = Limits::default();
    let before = forget_peak();
    let took = best(|| {
        let (mut seen, mut from) = (0, File::open(file).expect("the input"));
        let read = index.packages(&root, &mut from, &limits, &mut |package| {
            seen += 1;
            black_box(package);
            ControlFlow::Continue(())
        });
        read.expect("a valid input");
        assert_eq!(seen, count);
    });
    row(label, open, &took, memory("VmHWM:").saturating_sub(before))
}

fn check(label: &str, format: &str, path: &str, file: &Path, content: &[u8]) -> String {
    fs::write(file, content).expect("room for an input");
    let format = find(format).expect("a format");
    let (path, limits) = (RepoPath::new(path).expect("a path"), Limits::default());
    let mut buffer = vec![0; 256 << 10];
    let sha256 = Sha256::of(content);
    let before = forget_peak();
    let took = best(|| {
        let mut from = File::open(file).expect("the input");
        let mut checker = format.checker(&path, None, &limits).expect("packages have one");
        loop {
            match from.read(&mut buffer).expect("the input") {
                0 => break,
                read => checker.update(&buffer[..read]).expect("a valid input"),
            }
        }
        checker.finish(&mut from, &sha256).expect("a valid input");
    });
    row(label, content.len(), &took, memory("VmHWM:").saturating_sub(before))
}

/// Forgets the peak, and says how much memory there is now: what the peak is held against. KiB.
fn forget_peak() -> u64 {
    fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process forget its peak");
    memory("VmRSS:")
}

fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
