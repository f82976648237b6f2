//! The black-box suite: the real server between real clients and real services.
//!
//! | module | what it shows |
//! |---|---|
//! | `clients` | apk, dnf, zypper and curl install through the server, cold, warm and without upstream |
//! | `urls` | what a URL may look like, and what bad requests get |
//! | `conditions` | heads, conditions and ranges |
//! | `faults` | an upstream that misbehaves, for every role, cold and held; mirrors and redirects |
//! | `fills` | one transfer for everybody: herds, slow clients, clients that leave, bodies that break |
//!
//! `support` is the harness. One binary, so that it is linked once; every test is independent of every other and finds
//! its own ports and folders, so that they run side by side, as processes (cargo-nextest) or as threads (cargo test).

mod clients;
mod conditions;
mod faults;
mod fills;
mod support;
mod urls;
