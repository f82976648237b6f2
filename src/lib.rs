//! artifactapi: a package-manager-aware repository server. ARCHITECTURE.md is the map.

pub mod config;
pub mod spool;
pub mod store;
