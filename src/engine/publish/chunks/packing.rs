//! Compressing a list's text, and the fragments of one package.
//!
//! The same text is the same bytes whenever and wherever it is compressed: lists are published before they are written, and written
//! from chunks that another replica may have made. So how it is done depends on the text and on nothing else: gzip pieces come out
//! the same however they are fed ([`GzipPiece`]), and of zstd only a text longer than [`HELD_TEXT`] is fed as a stream, of which the
//! compressor is told the length before. Who changes any of it gives chunks other names ([`way`]).

use std::io::{self, Read as _, Write};

use artifactapi_formats::pieces::{GzipPiece, gzip_piece};
use artifactapi_formats::publish::Compression;

use super::MAX_FRAGMENT;
use super::growing::{Growing, HELD_TEXT};

/// gzip's own measure of how hard to compress.
const EFFORT: u32 = 6;

/// zstd's.
const LEVEL: i32 = 9;

/// A word for how texts are compressed; another one when the bytes would be others.
pub(super) const fn way(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gz",
        // Since long texts are fed as a stream.
        Compression::Zstd => "zst 2",
    }
}

/// A piece of gzip or a zstd frame of a short text. Nothing is written for nothing.
pub(in crate::engine::publish) fn pack(text: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    match compression {
        Compression::Gzip => gzip_piece(text, EFFORT).map_err(io::Error::other),
        Compression::Zstd => zstd::bulk::compress(text, LEVEL),
    }
}

/// The same of a text of any length.
pub(super) fn pack_into(text: &mut Growing, compression: Compression, mut into: &mut dyn Write) -> io::Result<()> {
    if let Some(held) = text.held() {
        debug_assert!(held.len() <= HELD_TEXT, "what is held is short");
        return into.write_all(&pack(held, compression)?);
    }
    match compression {
        Compression::Gzip => {
            let mut piece = GzipPiece::new(into, EFFORT);
            io::copy(&mut text.read()?, &mut piece)?;
            piece.finish().map(drop)
        }
        Compression::Zstd => {
            let mut frame = zstd::stream::write::Encoder::new(&mut into, LEVEL)?;
            frame.set_pledged_src_size(Some(text.length()))?;
            frame.include_contentsize(true)?;
            io::copy(&mut text.read()?, &mut frame)?;
            frame.finish().map(drop)
        }
    }
}

/// A package's fragments as they are kept: compressed, each with its length before it.
pub(in crate::engine::publish) fn packed(fragments: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for fragment in fragments {
        member.write_all(&(fragment.len() as u64).to_be_bytes())?;
        member.write_all(fragment)?;
    }
    member.finish()
}

/// Adds what a package contributes to each list, as it comes out of what is kept. Texts of more lists than it knows are left alone.
pub(super) fn unpack_into(body: &[u8], texts: &mut [impl Write]) -> io::Result<()> {
    let cut_short = || io::Error::other("a fragment is cut short");
    let mut whole = flate2::read::GzDecoder::new(body).take(MAX_FRAGMENT);
    for text in texts {
        let mut length = [0; 8];
        match read_as_far_as_it_goes(&mut whole, &mut length)? {
            0 => return Ok(()),
            8 => {}
            _ => return Err(cut_short()),
        }
        let length = u64::from_be_bytes(length);
        if io::copy(&mut (&mut whole).take(length), text)? != length {
            return Err(cut_short());
        }
    }
    // Its checksum comes at its end.
    io::copy(&mut whole, &mut io::sink()).map(drop)
}

fn read_as_far_as_it_goes(from: &mut impl io::Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
pub(in crate::engine::publish) fn unpack(body: &[u8], lists: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut texts = vec![Vec::new(); lists];
    unpack_into(body, &mut texts)?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_come_back() {
        let fragments = vec![b"<package/>".to_vec(), Vec::new(), vec![b'x'; 100_000]];
        let body = packed(&fragments).expect("packed");
        assert_eq!(unpack(&body, 3).expect("unpacked"), fragments);
        assert_eq!(unpack(&body, 2).expect("unpacked"), fragments[..2]);
        assert_eq!(unpack(&body, 4).expect("unpacked"), [&fragments[..], &[Vec::new()]].concat());
        assert!(unpack(b"nonsense", 3).is_err());
        for end in [body.len() / 2, body.len() - 5] {
            assert!(unpack(&body[..end], 3).is_err(), "cut at {end}");
        }
        let mut cut = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        cut.write_all(&7_u64.to_be_bytes()).and_then(|()| cut.write_all(b"six...")).expect("in memory");
        assert!(unpack(&cut.finish().expect("in memory"), 1).is_err());
    }

    /// Lines that differ, and repeat each other as those of a list of files do.
    fn lines(bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 100);
        let mut number = 1_u64;
        while text.len() < bytes {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let _ = writeln!(text, "    <file>/usr/src/debug/{}/{:x}.c</file>", number >> 59, number >> 33);
        }
        text.truncate(bytes);
        text
    }

    #[test]
    fn a_long_text_is_the_same_bytes_however_it_came() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = lines(HELD_TEXT + 1_234_567);
        let grown = |step: usize, compression| {
            let mut growing = Growing::beside(&folder.path().join("chunk"));
            text.chunks(step).for_each(|part| growing.write_all(part).expect("written"));
            assert!(growing.held().is_none());
            let mut packed = Vec::new();
            pack_into(&mut growing, compression, &mut packed).expect("packed");
            packed
        };
        for compression in Compression::ALL {
            let once = grown(text.len(), compression);
            assert!(once == grown(70_001, compression) && once == grown(333, compression), "{compression:?}");
            let mut open = Vec::new();
            match compression {
                Compression::Gzip => flate2::read::GzDecoder::new(&*once).read_to_end(&mut open).map(drop),
                Compression::Zstd => zstd::stream::copy_decode(&*once, &mut open),
            }
            .expect("readable");
            assert!(open == text, "{compression:?}");
            if compression == Compression::Gzip {
                assert!(once == pack(&text, compression).expect("packed"), "as when it was held whole");
            } else {
                let told = zstd::zstd_safe::get_frame_content_size(&once);
                assert!(
                    matches!(told, Ok(Some(length)) if length == text.len() as u64),
                    "its frame says how long it is"
                );
            }
        }
    }
}
