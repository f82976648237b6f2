//! The keys of a repository that has an upstream: how long to wait for it, whom to believe. Where it is and who we are to it
//! is read in [`whereabouts`] and [`credentials`].

use std::time::Duration;

use artifactapi_formats::Format;

use super::prefetch::Prefetch;
use super::reader::{Field, Reader, Table};
use super::repositories::{Remote, Timeouts, Verify};
use super::{credentials, proxy, trust, whereabouts};

/// Reads the keys of `type: remote`. `None` when nothing usable says where the upstream is.
pub(super) fn read(table: &Table<'_>, format: Option<&dyn Format>, reader: &mut Reader<'_, '_>) -> Option<Remote> {
    let whereabouts = whereabouts::read(table, format, reader);
    let usual = Timeouts::default();
    let timeouts = Timeouts {
        connect: table.read(reader, "connect_timeout", timeout).unwrap_or(usual.connect),
        idle: table.read(reader, "idle_timeout", timeout).unwrap_or(usual.idle),
    };
    let credentials = credentials::read(table, reader);
    let proxy = proxy::read(table, reader);
    let allow_private = table.read(reader, "allow_private_redirects", Field::flag).unwrap_or(false);
    let max_parallel = table.read(reader, "max_parallel", Field::count);
    let allow_rollback = table.read(reader, "allow_rollback", Field::flag).unwrap_or(false);
    let verify = table.read(reader, "verify", verify).unwrap_or_default();
    // Which kind of keys it takes is known with the format only; without one there is a problem anyway.
    let trusted_keys = format
        .and_then(|format| table.read(reader, "trusted_keys", |field, reader| trust::read(field, format, reader)));
    Some(Remote {
        whereabouts: whereabouts?,
        credentials,
        proxy,
        timeouts,
        allow_private,
        max_parallel,
        allow_rollback,
        verify,
        trusted_keys: trusted_keys.unwrap_or_default(),
        hold: table.read(reader, "hold", Field::duration).filter(|hold| !hold.is_zero()),
        prefetch: table.read(reader, "prefetch", Prefetch::read),
    })
}

fn verify(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Verify> {
    // YAML reads a bare `off` as false.
    if field.is_false() {
        return Some(Verify::Off);
    }
    let word = field.text(reader)?;
    let known = Verify::ALL.into_iter().find(|verify| verify.name() == word);
    if known.is_none() {
        field.refuse(reader, format!("{word:?} is not a way to verify; write one of strict, warn, off"));
    }
    known
}

fn timeout(field: &Field<'_>, reader: &mut Reader<'_, '_>) -> Option<Duration> {
    let duration = field.duration(reader)?;
    if duration.is_zero() {
        field.refuse(reader, "0 would give up before trying; leave the key out for the default");
        return None;
    }
    Some(duration)
}
