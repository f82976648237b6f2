//! The seam between the server and the writing of a format's indexes.
//!
//! An index that we write ourselves is made of *fragments*: what each package contributes to each of the format's
//! *lists* (rpm: an element of primary, of filelists and of other; apk: a stanza of APKINDEX). [`PublishFormat::describe`]
//! makes a package's fragments once, when it is uploaded; [`PublishFormat::open`] and [`PublishFormat::close`] say what goes
//! before and after all fragments of a list; [`PublishFormat::finish`] names the written lists and writes the entry that
//! binds them together, with its signatures. Nothing here reads a package twice, and the work after an upload is that of
//! joining compressed pieces. Where an index is no text (apk v3), [`PublishFormat::compose`] makes it of the fragments.
//!
//! An index that is merged of others is made of fragments too: [`PublishFormat::cut`] takes them out of lists that somebody else
//! wrote, as they stand there.
//!
//! Nothing here does I/O either: the server keeps fragments, compresses and joins them, and puts the files where clients
//! look. It never decides who may publish, nor when.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use crate::{IndexRoot, Invalid, Limits, PackageEntry, ReadSeek, RepoPath, Sha256, SigningKeys};

/// How many bytes of a package tell of which kind it is.
pub const HEAD: usize = 4;

/// A package that was uploaded, as far as the bytes around it tell.
#[derive(Debug, Clone)]
pub struct Upload<'u> {
    /// The root that is to list it.
    pub root: &'u IndexRoot,
    /// Where it lies.
    pub path: &'u RepoPath,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// When it was uploaded, in Unix seconds.
    pub uploaded_at: u64,
}

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// As a reader of the finished index will find it.
    pub entry: PackageEntry,
    /// What it contributes to each of [`PublishFormat::lists`], in their order.
    pub fragments: Vec<Vec<u8>>,
}

/// What a list that somebody else wrote says of one package.
#[derive(Debug)]
pub struct Cut<'c> {
    /// The package, in the first list: that one says what there is.
    pub package: Option<PackageEntry>,
    /// By which the lists know it: its digest, in hexadecimal digits.
    pub key: &'c str,
    /// A fragment of that list, complete in itself.
    pub text: &'c [u8],
}

/// What is known of a list before its bytes are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many packages it lists.
    pub packages: u64,
    /// The length of all its fragments together, in bytes.
    pub bytes: u64,
    /// When it is written, in Unix seconds.
    pub written_at: u64,
}

/// How a list is compressed. Pieces are compressed each for itself and joined. zstd frames one after another are one stream by
/// their standard (RFC 8878, 3). gzip members would be too (RFC 1952, 2.2), but apk takes an index of exactly one member
/// (FORMATS 1.2), so gzip pieces are joined within one: [`crate::pieces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// gzip, one member: read by every client there is.
    #[default]
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// How names of files end that are compressed so, without the dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

/// A list whose bytes have been joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenList {
    /// How it is compressed.
    pub compression: Compression,
    /// Length of the compressed bytes.
    pub size: u64,
    /// Digest of the compressed bytes.
    pub sha256: Sha256,
    /// SHA-1 of the compressed bytes, for signatures that need it.
    pub sha1: [u8; 20],
    /// Length of what is compressed.
    pub open_size: u64,
    /// Digest of what is compressed, if it was made: a long text is not read for it.
    pub open_sha256: Option<Sha256>,
}

/// A file that is carried in the index as it is, beside the lists: comps, updateinfo, modules, productid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The index's word for it.
    pub kind: String,
    /// Where it lies.
    pub path: RepoPath,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
    /// Length and digest of what is compressed in it, if it is.
    pub open: Option<(u64, Sha256)>,
    /// When it was uploaded, in Unix seconds.
    pub uploaded_at: u64,
}

/// A file of a finished index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Where clients look for it.
    pub path: RepoPath,
    /// Its bytes.
    pub content: FinishedContent,
}

/// The bytes of a [`Finished`] file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishedContent {
    /// These.
    Bytes(Vec<u8>),
    /// These, and then the list of this number.
    List {
        /// What comes before the list, such as a signature.
        prefix: Vec<u8>,
        /// Which of [`PublishFormat::lists`].
        list: usize,
    },
    /// What [`PublishFormat::compose`] makes of the text of the list of this number.
    Composed {
        /// Which of [`PublishFormat::lists`].
        list: usize,
    },
}

/// What [`PublishFormat::finish`] is given.
#[derive(Debug, Clone)]
pub struct Index<'i> {
    /// The root that is written.
    pub root: &'i IndexRoot,
    /// One for each of [`PublishFormat::lists`].
    pub lists: &'i [WrittenList],
    /// What is carried beside them.
    pub carried: &'i [Carried],
    /// Who signs it; the index is not signed if there is nobody.
    pub keys: &'i SigningKeys,
    /// When it is written, in Unix seconds.
    pub written_at: u64,
    /// Grows with each index of this root.
    pub revision: u64,
}

/// The publishing side of a format.
pub trait PublishFormat: Send + Sync {
    /// The lists that packages are written to, by the names people know them by.
    fn lists(&self) -> &'static [&'static str];

    /// How lists may be compressed, the usual way first.
    fn compressions(&self) -> &'static [Compression];

    /// Whether indexes under this entry are written; clients know some that we read and do not write.
    fn writes(&self, _root: &IndexRoot) -> bool {
        true
    }

    /// Streams the fragments of a list of another's making, in its order; `from` is that list as a client fetches it, compressed
    /// in whatever way clients read. Memory is that of one fragment. Packages that [`crate::IndexFormat::packages`] would not hand
    /// out have none.
    ///
    /// # Errors
    /// [`Invalid`] when the list is malformed or over a limit; fragments seen before that have been handed out.
    fn cut(
        &self,
        root: &IndexRoot,
        list: usize,
        from: &mut dyn Read,
        limits: &Limits,
        each: &mut dyn FnMut(Cut<'_>) -> ControlFlow<()>,
    ) -> Result<(), Invalid>;

    /// Whether clients can read a fragment that was cut out of another's list: one that they cannot would take all others with it.
    ///
    /// # Errors
    /// [`Invalid`] saying what they would stumble over.
    fn check_fragment(&self, _root: &IndexRoot, _list: usize, _text: &[u8], _limits: &Limits) -> Result<(), Invalid> {
        Ok(())
    }

    /// The root that lists a package at `path`. `depth` is `root_depth` of the configuration: how many folders lead to a root.
    ///
    /// # Errors
    /// [`Invalid`] when a package may not lie there.
    fn root_for(&self, path: &RepoPath, depth: usize) -> Result<IndexRoot, Invalid>;

    /// Other roots that list packages of the same folder, each of packages of another kind. A path is listed in one of them at most.
    fn roots_beside(&self, _usual: &IndexRoot) -> Vec<IndexRoot> {
        Vec::new()
    }

    /// Of `usual`, which [`PublishFormat::root_for`] gave, and those beside it, the one that lists a package which begins with `head`:
    /// its first [`HEAD`] bytes, if it has as many.
    fn root_by_content(&self, usual: IndexRoot, _head: &[u8]) -> IndexRoot {
        usual
    }

    /// Reads a package from its start, whole and bounded. Its name and its content must agree as clients expect.
    ///
    /// # Errors
    /// [`Invalid`] when it is damaged, is no package of this format, or is another than its name says.
    fn describe(&self, upload: &Upload<'_>, whole: &mut dyn ReadSeek, limits: &Limits) -> Result<Described, Invalid>;

    /// The word by which an index names `path` if it is a file that is carried as it is; `None` for everything else.
    fn carried_kind(&self, _path: &RepoPath) -> Option<String> {
        None
    }

    /// Whether what an index names by this word is carried, too, whatever it is called: others call such files as they like.
    fn is_carried(&self, _kind: &str) -> bool {
        false
    }

    /// Reads a file that is to be carried as `kind` from its start: clients must be able to read it, and to be told its name.
    ///
    /// # Errors
    /// [`Invalid`] when it is damaged, or is something else than that word and its name say.
    fn check_carried(
        &self,
        _kind: &str,
        _path: &RepoPath,
        _whole: &mut dyn Read,
        _limits: &Limits,
    ) -> Result<(), Invalid> {
        Ok(())
    }

    /// What a file is called that is joined of carried files of this kind. It lies beside the entry, its digest before its name. `None`
    /// if such files are not joined, and the first one counts.
    fn joined_name(&self, _kind: &str) -> Option<&'static str> {
        None
    }

    /// Joins carried files of one kind, the most wanted first, as [`PublishFormat::joined_name`] says. Memory is within
    /// [`Limits::fragment_bytes`].
    ///
    /// # Errors
    /// [`Invalid`] when they are not joined, or one is malformed or over a limit.
    fn join(
        &self,
        kind: &str,
        _from: &mut [Box<dyn Read + Send>],
        _limits: &Limits,
        _into: &mut dyn Write,
    ) -> Result<(), Invalid> {
        Err(Invalid::malformed("index", format!("{kind} is not joined")))
    }

    /// The folder below a root where people look for a file of this name, `""` for the root itself.
    ///
    /// # Errors
    /// When no folder goes without saying: one that would do, as an example.
    fn usual_folder(&self, _file_name: &str) -> Result<String, &'static str> {
        Ok(String::new())
    }

    /// What comes before all fragments of a list.
    fn open(&self, root: &IndexRoot, list: usize, totals: &Totals) -> Vec<u8>;

    /// What comes after all fragments of a list.
    fn close(&self, root: &IndexRoot, list: usize, totals: &Totals) -> Vec<u8>;

    /// Makes a file of the text of a list, for an index that is no text itself: see [`FinishedContent::Composed`]. The same text and
    /// keys make the same file.
    ///
    /// # Errors
    /// [`Invalid`] when no file is made so, it would be over a limit, or a key cannot sign.
    fn compose(
        &self,
        root: &IndexRoot,
        _from: &mut dyn Read,
        _keys: &SigningKeys,
        _limits: &Limits,
        _into: &mut dyn Write,
    ) -> Result<(), Invalid> {
        Err(Invalid::malformed("index", format!("{} is joined, not composed", root.entry)))
    }

    /// The files of the index, the entry first.
    ///
    /// # Errors
    /// [`Invalid`] when a key cannot sign.
    fn finish(&self, index: &Index<'_>) -> Result<Vec<Finished>, Invalid>;
}
