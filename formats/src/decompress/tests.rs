use std::io::Write;

use super::*;

fn pack(kind: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        Compression::None | Compression::Zchunk => out.extend_from_slice(bytes),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::default());
            encoder.write_all(bytes).expect("in memory");
            encoder.finish().expect("in memory");
        }
        Compression::Xz => {
            liblzma::read::XzEncoder::new(bytes, 6).read_to_end(&mut out).expect("in memory");
        }
        Compression::Zstd => out = zstd::stream::encode_all(bytes, 3).expect("in memory"),
        Compression::Bzip2 => {
            let level = bzip2::Compression::best();
            bzip2::read::BzEncoder::new(bytes, level).read_to_end(&mut out).expect("in memory");
        }
    }
    out
}

fn unpack(mut from: &[u8], limits: &Limits) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::new();
    open("sample", &mut from, limits)?.read_to_end(&mut out).map_err(|error| into_invalid("sample", error))?;
    Ok(out)
}

const PACKED: [Compression; 4] = [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];

#[test]
fn every_kind_is_known_by_its_bytes_and_read_to_its_end() {
    let text = b"<metadata>".repeat(1000);
    for kind in PACKED.into_iter().chain([Compression::None]) {
        let packed = pack(kind, &text);
        assert_eq!(Compression::of(&packed), kind);
        assert_eq!(unpack(&packed, &Limits::default()).expect("valid"), text, "{kind:?}");
    }
    assert_eq!(unpack(b"", &Limits::default()).expect("empty"), b"");
}

#[test]
fn members_one_after_another_are_one_stream() {
    for kind in PACKED {
        let packed = [pack(kind, b"one "), pack(kind, b""), pack(kind, b"two")].concat();
        assert_eq!(unpack(&packed, &Limits::default()).expect("valid"), b"one two", "{kind:?}");
    }
}

#[test]
fn every_cut_and_every_tail_is_noticed() {
    let text: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
    for kind in PACKED {
        let packed = pack(kind, &text);
        for cut in HEAD..packed.len() {
            assert!(unpack(&packed[..cut], &Limits::default()).is_err(), "{kind:?} cut at {cut}");
        }
        let tailed = [&packed[..], b"<html>"].concat();
        assert!(unpack(&tailed, &Limits::default()).is_err(), "{kind:?} with a tail");
    }
}

#[test]
fn bombs_are_stopped_by_name() {
    let limits = Limits { open_bytes: 2 << 20, ratio: 10, ratio_free_bytes: 1 << 16, ..Limits::default() };
    for kind in PACKED {
        let over = |size: usize, limits: &Limits| match unpack(&pack(kind, &vec![0; size]), limits) {
            Err(Invalid::OverLimit { limit, .. }) => limit,
            other => panic!("{kind:?}: {other:?}"),
        };
        assert_eq!(over(1 << 20, &limits), "ratio");
        assert_eq!(over(3 << 20, &Limits { ratio: u64::MAX, ..limits.clone() }), "open_bytes");
    }
}

#[test]
fn windows_are_bounded() {
    let limits = Limits { decompressor_bytes: 1 << 20, ..Limits::default() };
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("in memory");
    encoder.window_log(24).expect("in range");
    encoder.write_all(&vec![0; 1 << 20]).expect("in memory");
    let zstd = encoder.finish().expect("in memory");
    for packed in [zstd, pack(Compression::Xz, b"dictionary of eight MiB")] {
        let why = unpack(&packed, &limits);
        assert!(matches!(why, Err(Invalid::OverLimit { limit: "decompressor_bytes", .. })), "{why:?}");
    }
}

#[test]
fn a_source_that_fails_is_not_blamed_on_the_bytes() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof))
        }
    }
    let packed = pack(Compression::Gzip, b"text");
    let mut from = Cursor::new(&packed[..12]).chain(Broken);
    let mut opened = open("sample", &mut from, &Limits::default()).expect("head is fine");
    let error = opened.read_to_end(&mut Vec::new()).expect_err("broken");
    assert!(matches!(into_invalid("sample", error), Invalid::Read(_)));
}
