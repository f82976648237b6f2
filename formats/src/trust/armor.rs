//! Blocks of base64 between a line `-----BEGIN …-----` and a line `-----END …-----`: PEM and OpenPGP's armor alike.
//!
//! [`blocks`] reads every block of a text, since key files hold several one after another, with remarks between them. It
//! promises that a block is complete and that its two lines agree. OpenPGP's checksum is passed over, as its standard
//! demands of readers: what a signature covers needs none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What the first line says: `PUBLIC KEY`, `PGP SIGNATURE`.
    pub(super) label: String,
    /// The bytes.
    pub(super) content: Vec<u8>,
}

/// What is wrong with a block, as the rest of a sentence.
pub(super) type Why = &'static str;

/// Every block of `text`, in order; none when there is none. The caller bounds the text.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block>, Why> {
    let mut blocks = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let Some((label, body)) = &mut open else {
            open = marked(line, b"-----BEGIN ").map(|label| (label, Vec::new()));
            continue;
        };
        if let Some(end) = marked(line, b"-----END ") {
            if end != *label {
                return Err("the last line of a block does not fit its first");
            }
            let content = STANDARD.decode(&*body).map_err(|_| "a block is not base64")?;
            blocks.push(Block { label: String::from_utf8_lossy(label).into_owned(), content });
            open = None;
        } else if line.starts_with(b"-----") {
            return Err("a block begins within another");
        } else if !is_remark(line) {
            body.extend_from_slice(line);
        }
    }
    if open.is_some() { Err("a block breaks off") } else { Ok(blocks) }
}

fn marked<'t>(line: &'t [u8], mark: &[u8]) -> Option<&'t [u8]> {
    line.strip_prefix(mark)?.strip_suffix(b"-----")
}

/// Headers have a colon, which base64 has not; the checksum begins with the sign that only ends base64.
fn is_remark(line: &[u8]) -> bool {
    line.contains(&b':') || (line.starts_with(b"=") && line.len() == 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_what_is_between_them() {
        let text = b"A remark\r\n-----BEGIN PGP SIGNATURE-----\r\nVersion: x\r\n\r\naGVs\r\nbG8=\r\n=abcd\r\n-----END PGP SIGNATURE-----\r\n\
                     another\n-----BEGIN PUBLIC KEY-----\neA==\n-----END PUBLIC KEY-----";
        let block = |label: &str, content: &[u8]| Block { label: label.to_owned(), content: content.to_vec() };
        let expected = vec![block("PGP SIGNATURE", b"hello"), block("PUBLIC KEY", b"x")];
        assert_eq!(blocks(text), Ok(expected));
        assert_eq!(blocks(b"no block at all"), Ok(Vec::new()));
    }

    #[test]
    fn broken_blocks() {
        let table: [(&[u8], &str); 4] = [
            (b"-----BEGIN A-----\neA==\n", "a block breaks off"),
            (b"-----BEGIN A-----\neA==\n-----END B-----", "the last line of a block does not fit its first"),
            (b"-----BEGIN A-----\ne*==\n-----END A-----", "a block is not base64"),
            (b"-----BEGIN A-----\n-----BEGIN A-----\n-----END A-----", "a block begins within another"),
        ];
        for (text, why) in table {
            assert_eq!(blocks(text), Err(why));
        }
    }
}
