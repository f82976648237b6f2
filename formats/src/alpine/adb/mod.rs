//! ADB, the container of apk-tools 3: v3 packages and v3 indexes (FORMATS 2.3).
//!
//! Three layers, each its own file: [`container`] undoes the compression, [`blocks`] walks the blocks, [`value`] reads the
//! typed values inside the first block. [`index`] reads a package list with them, [`signature`] says who signed it;
//! [`package`] and [`files`] check a package. All of it goes by offsets and lengths from the wire, so every one is checked
//! where it is used, and nothing is recursive. The other way, [`mod@info`] is what an index repeats of a package, [`writer`] makes
//! blocks of values, and [`mod@compose`] an index, signed.

mod blocks;
mod compose;
mod container;
mod files;
mod index;
mod info;
mod package;
mod signature;
#[cfg(test)]
mod tests;
mod value;
mod writer;

pub(super) use compose::compose;
pub(super) use index::{IndexCheck, fragments, packages};
pub(super) use info::{Info, Relation};
pub(super) use package::{PackageV3, info};
pub(super) use signature::verify;
