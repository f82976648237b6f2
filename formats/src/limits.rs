//! Every limit on what is read, in one place, with its default.
//!
//! A limit stands for memory, CPU or disk that a hostile or broken file could otherwise take. Reaching one is
//! [`crate::Invalid::OverLimit`], which names the field. Defaults are several times what the largest public
//! repositories need today (Fedora everything: 70,000 packages, primary.xml 200 MB open; Alpine community: 25,000).

/// Named limits for readers and checkers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// An entry that is held whole: repomd.xml, a metalink. Bytes.
    pub entry_bytes: u64,
    /// What one compressed index may expand to. Bytes.
    pub open_bytes: u64,
    /// How many times larger than its compressed form an index may become, above [`Limits::ratio_free_bytes`].
    pub ratio: u64,
    /// Expansion up to here is not held against [`Limits::ratio`]: small files compress extremely well. Bytes.
    pub ratio_free_bytes: u64,
    /// Packages in one index.
    pub packages: u64,
    /// Members one entry may name.
    pub members: u64,
    /// Mirrors in one list.
    pub mirrors: u64,
    /// One line of an APKINDEX, one text or attribute of an XML document, one document about a module. Bytes.
    pub text_bytes: u64,
    /// How deep XML elements may nest.
    pub depth: u64,
    /// The control member of an apk v2 package: raw and inflated. Bytes.
    pub control_bytes: u64,
    /// The values of an apk v3 index, which are held whole. Bytes.
    pub adb_bytes: u64,
    /// One rpm header (signature or main). Bytes.
    pub header_bytes: u64,
    /// What one package contributes to one list of an index that we write. Bytes.
    pub fragment_bytes: u64,
    /// The window a compressed stream may ask memory for. Bytes.
    pub decompressor_bytes: u64,
    /// One file with signatures, or one signature within an index. Bytes.
    pub signature_bytes: u64,
    /// Signatures of one index.
    pub signatures: u64,
    /// One file with keys. Bytes.
    pub key_bytes: u64,
    /// Keys that one repository trusts, subkeys included.
    pub keys: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            entry_bytes: 8 * MIB,
            open_bytes: 8192 * MIB,
            ratio: 400,
            ratio_free_bytes: 64 * MIB,
            packages: 4_000_000,
            members: 4_096,
            mirrors: 4_096,
            text_bytes: 4 * MIB,
            depth: 32,
            control_bytes: 32 * MIB,
            adb_bytes: 64 * MIB,
            header_bytes: 256 * MIB,
            fragment_bytes: 64 * MIB,
            decompressor_bytes: 128 * MIB,
            signature_bytes: MIB / 16,
            signatures: 16,
            key_bytes: MIB,
            keys: 256,
        }
    }
}
