//! Package managers and downloaders as their users run them (tests/testbed/README.md).
//!
//! Each has a root of its own below the run's folder, and is told the server's URL and nothing else that matters.

mod apk;
mod curl;
mod dnf;
mod zck;
mod zypper;

pub(crate) use apk::Apk;
pub(crate) use curl::curl;
pub(crate) use dnf::Dnf;
pub(crate) use zck::zckdl;
pub(crate) use zypper::Zypper;

use std::process::Command;

use super::process::clean;
use super::testbed::tool;

/// A program that needs to be root, or to think that it is.
fn as_root(program: &str) -> Command {
    let mut command = clean(tool("AS_ROOT"));
    command.arg(program);
    command
}
