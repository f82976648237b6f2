//! Where things are kept: bytes ([`blobs`]), records about them ([`catalog`]), and who fetches what ([`coordinator`]).
//!
//! Three traits, each with a laptop implementation (files, SQLite, in-process) and a shared one (S3, PostgreSQL, Redis),
//! chosen independently by the environment. Only `app/stores.rs` names an implementation. Each trait has one conformance suite
//! that every implementation passes.

pub mod blobs;
pub mod catalog;
mod circuit;
pub mod coordinator;
pub mod key;

#[cfg(test)]
pub(crate) mod services;
