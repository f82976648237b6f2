//! artifactapi: a package-manager-aware repository server. ARCHITECTURE.md is the map.

pub mod access;
pub mod app;
#[cfg(test)]
mod architecture;
pub mod calendar;
pub mod causes;
pub mod cli;
pub mod config;
pub mod disk;
pub mod engine;
pub mod frames;
pub mod http;
pub mod memory;
pub mod patience;
pub mod spool;
pub mod store;
pub mod upstream;
