//! What the server does, whatever the format and whatever the stores: read, fill, keep, refresh.
//!
//! The engine names no format and no concrete store. Rules are pure functions; I/O is around them.
//!
//! | room | what changes belong there |
//! |---|---|
//! | [`read`], [`freshness`] | what a request is answered with: held, revalidated, fetched, stale |
//! | [`held`], [`shelf`], [`roots`], `content` | the memory in front of catalog and store; what a held index says of other files; bytes to be read here |
//! | [`fills`], [`fill`], `transfer` | one upstream transfer for all who want a file, and the snapshots it completes |
//! | [`keep`], [`growth`], [`identities`] | making bytes current, and what is known of them |
//! | [`generations`], [`changes`], [`past`], [`pins`], [`switches`], [`distrust`] | earlier snapshots, and that a switch contradicts nobody |
//! | [`publish`] | uploads become indexes; virtual repositories are merged |
//! | [`retention`], [`tend`], [`scrub`], [`rebuild`] | budgets, sweeping, checking, making the catalog anew |
//! | [`batch`], [`prefetch`] | fetching before anybody asks |
//! | [`callers`], [`counts`], [`pattern`], `threads` | whose token it is, metrics, patterns of requests, work on threads of its own |

pub mod batch;
pub mod callers;
pub mod changes;
mod content;
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
