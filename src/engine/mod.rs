//! What the server does, whatever the format and whatever the stores: read, fill, keep, refresh.
//!
//! The engine names no format and no concrete store. [`read::Reader`] answers requests; [`fills::Fills`] runs transfers;
//! [`shelf::Shelf`] is the memory in front of catalog and store; [`keep::Keeper`] makes bytes current. Rules are pure
//! functions ([`freshness`]); I/O is around them.

pub mod batch;
pub mod callers;
pub mod counts;
pub mod distrust;
pub mod fill;
pub mod fills;
pub mod freshness;
pub mod generations;
pub mod growth;
pub mod held;
pub mod identities;
pub mod keep;
pub mod past;
pub mod pattern;
pub mod pins;
pub mod prefetch;
pub mod publish;
pub mod read;
pub mod rebuild;
pub mod retention;
pub mod roots;
pub mod scrub;
pub mod shelf;
pub mod switches;
pub mod tend;
mod threads;
mod transfer;
