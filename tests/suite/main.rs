//! The black-box suite: the real server between real clients and real services.
//!
//! | module | what it shows |
//! |---|---|
//! | `clients` | apk, dnf, zypper and curl install through the server, cold, warm and without upstream |
//! | `urls` | what a URL may look like, and what bad requests get |
//! | `conditions` | heads, conditions and ranges |
//! | `faults` | an upstream that misbehaves, for every role, cold and held; mirrors and redirects |
//! | `fills` | one transfer for everybody: herds, slow clients, clients that leave, bodies that break |
//! | `flip` | an upstream that never rests, and clients that check everything they are given against each other, real ones too |
//! | `doubts` | an index and a file that contradict each other |
//! | `proxied` | upstreams that are reached through a proxy |
//! | `mirrorlists` | upstreams that are known by a mirrorlist or metalink, and the lists that clients get in their place |
//! | `startup` | broken configurations, what keeps it from starting and what does not, reloads |
//! | `stopping` | what is under way finishes, the rest is cut |
//! | `secrets` | no secret leaves the server |
//! | `snapshots` | an index and what it names switch together; the past is served; what contradicts an index is not |
//! | `pins` | who was given an index goes on with that generation of it, whatever switches and whichever replica is asked |
//! | `credit` | who has an index that was shown before it was known what it names is given what it names, or asks again |
//! | `distant` | what only S3 has is answered like a file on a disk |
//! | `memory` | what is kept in memory stays within its budget, and what left it is not given out any more |
//! | `tls` | upstreams that speak TLS are asked by it, and are who they say they are |
//! | `travel` | after twenty generations, real clients install from any of them, and what differs between two is told rightly |
//! | `retention` | budgets hold while files are read; what is superseded stays for its time |
//! | `trust` | with keys configured, what none of them signed is not shown |
//! | `edges` | conditions on what is only arriving, refusals of who still sends |
//! | `unkept` | what came and could not be kept is named by no snapshot |
//! | `unnamed` | packages that were fetched before their index are what it names, or are fetched again |
//! | `prefetch` | packages are there before anybody asks for them |
//! | `remembered` | what was found out is forgotten when its configuration or its index is over |
//! | `scrub` | bytes that rot on the disk are found and come back |
//! | `uploads` | what is acknowledged is there, for everybody, and nothing else is |
//! | `virtuals` | several repositories under one name: the first that has it, merged indexes, uploads to one of them |
//! | `crash` | killed again and again while it fills, nothing corrupt is ever served |
//! | `access` | tokens: every route, every grant; made, revoked on every replica at once, sent by real clients, never shown |
//! | `replicas` | two servers over the same stores |
//! | `away` | each thing it stands on is taken away under load, and comes back |
//!
//! `support` is the harness. One binary, so that it is linked once; every test is independent of every other and finds
//! its own ports and folders, so that they run side by side, as processes (cargo-nextest) or as threads (cargo test).

mod access;
mod away;
mod clients;
mod conditions;
mod crash;
mod credit;
mod distant;
mod doubts;
mod edges;
mod faults;
mod fills;
mod flip;
mod memory;
mod mirrorlists;
mod pins;
mod prefetch;
mod proxied;
mod remembered;
mod replicas;
mod retention;
mod scrub;
mod secrets;
mod snapshots;
mod startup;
mod stopping;
mod support;
mod tls;
mod travel;
mod trust;
mod unkept;
mod unnamed;
mod uploads;
mod urls;
mod virtuals;
