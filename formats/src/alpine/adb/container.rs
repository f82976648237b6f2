//! The outermost layer: a plain ADB file, or a compressed one.
//!
//! `ADB.` is plain. `ADBd` wraps raw deflate; `ADBc` names an algorithm and a level and wraps that. What is wrapped begins
//! with `ADB.` again, so whoever reads behind this layer sees a plain file in every case.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::decompress::Expansion;
use crate::{Invalid, Limits};

/// Open bytes handed on at once.
const OPEN: usize = 64 << 10;

/// The layer.
pub(in crate::alpine) struct Container {
    what: &'static str,
    head: Vec<u8>,
    stream: Stream,
    open: Vec<u8>,
    taken: u64,
    expansion: Expansion,
    window: u32,
}

enum Stream {
    /// The head is not complete.
    Unknown,
    Plain,
    Deflate(Decompress),
    Zstd(Decoder<'static>),
    /// The compressed stream came to its end.
    Over,
}

impl Container {
    pub(in crate::alpine) fn new(what: &'static str, limits: &Limits) -> Self {
        Self {
            what,
            head: Vec::new(),
            stream: Stream::Unknown,
            open: Vec::new(),
            taken: 0,
            expansion: Expansion::new(what, limits),
            window: limits.decompressor_bytes.checked_ilog2().unwrap_or(0),
        }
    }

    /// Takes the next bytes of the file and hands on what they open to.
    pub(in crate::alpine) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        while matches!(self.stream, Stream::Unknown) {
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.head.push(*first);
            bytes = rest;
            self.begin(each)?;
        }
        loop {
            let (taken, open, ended) = match &mut self.stream {
                Stream::Unknown => return Ok(()),
                Stream::Plain => return each(bytes),
                Stream::Over if bytes.is_empty() => return Ok(()),
                Stream::Over => {
                    return Err(Invalid::malformed(self.what, "something follows the compressed stream"));
                }
                Stream::Deflate(inflater) => deflate_step(self.what, inflater, bytes, &mut self.open)?,
                Stream::Zstd(decoder) => zstd_step(self.what, decoder, bytes, &mut self.open)?,
            };
            self.expansion.add(open, self.taken)?;
            each(self.open.get(..open).unwrap_or_default())?;
            bytes = bytes.get(taken..).unwrap_or_default();
            if ended {
                self.stream = Stream::Over;
            } else if bytes.is_empty() && open < OPEN {
                return Ok(());
            } else if taken == 0 && open == 0 {
                return Err(Invalid::malformed(self.what, "a compressed stream that cannot be read on"));
            }
        }
    }

    /// Looks at the head as far as it has come.
    fn begin(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<(), Invalid>) -> Result<(), Invalid> {
        const MAGIC: &[u8] = b"ADB";
        let malformed = |why: &str| Err(Invalid::malformed(self.what, why));
        if !MAGIC.starts_with(&self.head) && !self.head.starts_with(MAGIC) {
            return malformed("it does not begin with 'ADB'");
        }
        self.stream = match *self.head.get(MAGIC.len()..).unwrap_or_default() {
            [] | [b'c'] | [b'c', _] => return Ok(()),
            [b'.'] => Stream::Plain,
            [b'd'] | [b'c', 1, _] => Stream::Deflate(Decompress::new(false)),
            [b'c', 0, _] => {
                return malformed("an ADBc container without compression is not known to exist");
            }
            [b'c', 2, _] => Stream::Zstd(self.zstd()?),
            _ => return malformed("its compression is not known"),
        };
        match self.stream {
            Stream::Plain => each(b"ADB."),
            _ => {
                self.open = vec![0; OPEN];
                Ok(())
            }
        }
    }

    fn zstd(&self) -> Result<Decoder<'static>, Invalid> {
        let failed = |error: std::io::Error| Invalid::malformed(self.what, error.to_string());
        let mut decoder = Decoder::new().map_err(failed)?;
        decoder.set_parameter(DParameter::WindowLogMax(self.window)).map_err(failed)?;
        Ok(decoder)
    }

    /// The file is over.
    pub(in crate::alpine) fn finish(&self) -> Result<(), Invalid> {
        match self.stream {
            Stream::Plain | Stream::Over => Ok(()),
            Stream::Unknown | Stream::Deflate(_) | Stream::Zstd(_) => Err(Invalid::Truncated { what: self.what }),
        }
    }
}

/// (input taken, output made, whether the stream ended)
type Progress = (usize, usize, bool);

fn deflate_step(
    what: &'static str,
    inflater: &mut Decompress,
    bytes: &[u8],
    open: &mut [u8],
) -> Result<Progress, Invalid> {
    let before = (inflater.total_in(), inflater.total_out());
    let status = inflater
        .decompress(bytes, open, FlushDecompress::None)
        .map_err(|error| Invalid::malformed(what, error.to_string()))?;
    let taken = usize::try_from(inflater.total_in() - before.0).unwrap_or(usize::MAX);
    let made = usize::try_from(inflater.total_out() - before.1).unwrap_or(usize::MAX);
    Ok((taken, made, status == Status::StreamEnd))
}

fn zstd_step(
    what: &'static str,
    decoder: &mut Decoder<'static>,
    bytes: &[u8],
    open: &mut [u8],
) -> Result<Progress, Invalid> {
    let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(open));
    let hint = decoder.run(&mut input, &mut output).map_err(|error| Invalid::malformed(what, error.to_string()))?;
    Ok((input.pos(), output.pos(), hint == 0))
}
