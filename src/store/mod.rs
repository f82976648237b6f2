//! Where things are kept: bytes ([`blobs`]), records about them ([`catalog`]), and who fetches what ([`coordinator`]).
//!
//! Each is a trait or (the catalog: records, snapshots, fragments, tokens) a few of one database, with a laptop implementation
//! (files, SQLite, in-process) and a shared one (S3, PostgreSQL, Redis), chosen independently by the environment. Only
//! `app/stores.rs` names an implementation. Each has a conformance suite that every implementation passes.

pub mod blobs;
pub mod catalog;
mod circuit;
pub mod coordinator;
pub mod key;

#[cfg(test)]
pub(crate) mod services;
