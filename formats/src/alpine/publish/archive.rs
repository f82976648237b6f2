//! The frame of a tar archive, as apk reads it: plain `ustar` entries, whose type is a digit and never NUL (FORMATS 1.2).
//!
//! Everything in a header is fixed but name, length and time, so that equal content makes equal bytes.

const BLOCK: usize = 512;

/// What ends an archive.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The zeros after a content of that length.
pub(super) fn padding(length: u64) -> &'static [u8] {
    const BLOCK: u64 = 512;
    // Less than a block.
    let padding = usize::try_from(length.wrapping_neg() % BLOCK).unwrap_or(0);
    END.get(..padding).unwrap_or_default()
}

/// A whole entry.
pub(super) fn entry(name: &str, time: u64, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u64;
    [&head(name, time, length), content, padding(length)].concat()
}

/// The header of an entry. A name that is too long for it is cut: callers know their names.
pub(super) fn head(name: &str, time: u64, length: u64) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    // Each field is given by where it begins, and every one ends with a NUL, which is there already.
    let mut put = |at: usize, most: usize, text: &[u8]| {
        let room = head.iter_mut().skip(at).take(most);
        room.zip(text).for_each(|(to, from)| *to = *from);
    };
    put(0, 99, name.as_bytes());
    put(100, 7, b"0000644");
    put(108, 7, b"0000000");
    put(116, 7, b"0000000");
    put(124, 12, &number(length));
    put(136, 12, &number(time));
    put(148, 8, b"        ");
    put(156, 1, b"0");
    put(257, 8, b"ustar\x0000");
    put(265, 4, b"root");
    put(297, 4, b"root");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    head.iter_mut().skip(148).zip(sum.bytes()).for_each(|(to, from)| *to = from);
    head
}

/// A number field of twelve bytes: octal, or for what is too large (8 GiB, the year 2242) binary, as GNU tar has it.
fn number(value: u64) -> [u8; 12] {
    const OCTAL: u64 = 1 << 33;
    let mut field = [0; 12];
    if value < OCTAL {
        let digits = format!("{value:011o}");
        field.iter_mut().zip(digits.bytes()).for_each(|(to, from)| *to = from);
    } else {
        let mark = [0x80, 0, 0, 0];
        let bytes = mark.into_iter().chain(value.to_be_bytes());
        field.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_those_of_other_writers() {
        let mut other = tar_entry_head("APKINDEX", 5);
        assert_eq!(other.len(), BLOCK);
        let ours = head("APKINDEX", 0, 5);
        // Others leave the owner's name out: that and the sum differ.
        for at in (148..156).chain(265..301) {
            other[at] = ours[at];
        }
        assert_eq!(other, ours);
        assert_eq!(&number(0o777_7777_7777), b"77777777777\0");
        assert_eq!(number(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    fn tar_entry_head(name: &str, length: usize) -> Vec<u8> {
        crate::samples::alpine::tar_entry(name, b'0', &vec![b'x'; length])[..BLOCK].to_vec()
    }

    #[test]
    fn padding_fills_the_block() {
        for (length, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)] {
            assert_eq!(padding(length).len(), zeros, "{length}");
        }
        assert_eq!(entry("a", 0, b"").len(), BLOCK);
        assert_eq!(entry("a", 0, b"x").len(), 2 * BLOCK);
    }
}
