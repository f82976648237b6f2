//! Events as they travel: JSON with a version and a sender.
//!
//! A message that this version does not understand is taken for [`Event::Missed`]: something changed, and it does not know
//! what.

use std::time::{Duration, SystemTime};

use artifactapi_formats::RepoPath;
use serde::{Deserialize, Serialize};

use crate::store::catalog::Revision;
use crate::store::coordinator::{Event, Handout};
use crate::store::key::Target;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Message {
    v: u32,
    from: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Published {
        #[serde(flatten)]
        named: Named,
        revision: i64,
    },
    Removed(Named),
    Evicted {
        #[serde(flatten)]
        named: Named,
        revision: i64,
    },
    Purged {
        repository: String,
    },
    HandedOut {
        #[serde(flatten)]
        root: Named,
        agent: u64,
        entry: String,
        at_us: u64,
        #[serde(default)]
        on_credit: bool,
        promised_for_ms: Option<u64>,
    },
    TokensChanged,
    Missed,
}

#[derive(Serialize, Deserialize)]
struct Named {
    repository: String,
    path: String,
    query: String,
}

/// The message for an event.
pub(super) fn write(from: &str, event: &Event) -> Result<String, serde_json::Error> {
    let what = match event {
        Event::Published(target, revision) => What::Published { named: named(target), revision: revision.0 },
        Event::Removed(target) => What::Removed(named(target)),
        Event::Evicted(target, revision) => What::Evicted { named: named(target), revision: revision.0 },
        Event::Purged(repository) => What::Purged { repository: repository.to_string() },
        Event::HandedOut(Handout { agent, root, entry, at, on_credit, promised_for }) => What::HandedOut {
            root: named(root),
            agent: *agent,
            entry: entry.hex(),
            at_us: whole(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()),
            on_credit: *on_credit,
            promised_for_ms: promised_for.map(|lasts| whole(lasts.as_millis())),
        },
        Event::TokensChanged => What::TokensChanged,
        Event::Missed => What::Missed,
    };
    serde_json::to_string(&Message { v: VERSION, from: from.to_owned(), what })
}

/// The event of a message; `None` if `me` sent it.
pub(super) fn read(me: &str, message: &[u8]) -> Option<Event> {
    match serde_json::from_slice(message) {
        Ok(Message { from, .. }) if from == me => None,
        Ok(Message { v: VERSION, what, .. }) => Some(understand(what).unwrap_or(Event::Missed)),
        _ => Some(Event::Missed),
    }
}

fn understand(what: What) -> Option<Event> {
    Some(match what {
        What::Published { named, revision } => Event::Published(target(&named)?, Revision(revision)),
        What::Removed(named) => Event::Removed(target(&named)?),
        What::Evicted { named, revision } => Event::Evicted(target(&named)?, Revision(revision)),
        What::Purged { repository } => Event::Purged(repository.parse().ok()?),
        What::HandedOut { root, agent, entry, at_us, on_credit, promised_for_ms } => Event::HandedOut(Handout {
            agent,
            root: target(&root)?,
            entry: entry.parse().ok()?,
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(at_us),
            on_credit,
            promised_for: promised_for_ms.map(Duration::from_millis),
        }),
        What::TokensChanged => Event::TokensChanged,
        What::Missed => Event::Missed,
    })
}

fn whole(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn named(target: &Target) -> Named {
    Named {
        repository: target.repository.to_string(),
        path: target.path.as_str().to_owned(),
        query: target.query.to_string(),
    }
}

fn target(named: &Named) -> Option<Target> {
    let path = RepoPath::new(&named.path).ok()?;
    Some(Target::with_query(named.repository.parse().ok()?, path, &named.query))
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::Sha256;

    use super::*;

    #[test]
    fn events_travel() {
        let path = RepoPath::new("v3.22/main/x86_64/a%20\"é\".apk").expect("a path");
        let target = Target::with_query("alpine".parse().expect("a name"), path, "b=\\1&c");
        for event in [
            Event::Published(target.clone(), Revision(7)),
            Event::Removed(target.clone()),
            Event::Evicted(target.clone(), Revision(8)),
            Event::Purged(target.repository.clone()),
            Event::HandedOut(Handout {
                agent: u64::MAX,
                root: target.clone(),
                entry: Sha256::of(b"entry"),
                at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
                on_credit: true,
                promised_for: None,
            }),
            Event::HandedOut(Handout {
                agent: 0,
                root: target,
                entry: Sha256::of(b"entry"),
                at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
                on_credit: false,
                promised_for: Some(Duration::from_secs(60)),
            }),
            Event::TokensChanged,
            Event::Missed,
        ] {
            let message = write("me", &event).expect("JSON");
            assert_eq!(read("you", message.as_bytes()), Some(event));
            assert_eq!(read("me", message.as_bytes()), None, "one's own");
        }
    }

    #[test]
    fn what_is_not_understood_counts_as_missed() {
        for odd in [
            "",
            "{}",
            "hello",
            r#"{"v":2,"from":"x","event":"published","repository":"a","path":"b","query":""}"#,
            r#"{"v":1,"from":"x","event":"renamed","repository":"a"}"#,
            r#"{"v":1,"from":"x","event":"removed","repository":"a","path":"../b","query":""}"#,
        ] {
            assert_eq!(read("me", odd.as_bytes()), Some(Event::Missed), "{odd}");
        }
        let newer = r#"{"v":1,"from":"x","event":"purged","repository":"a","why":"because"}"#;
        assert_eq!(read("me", newer.as_bytes()), Some(Event::Purged("a".parse().expect("a name"))), "more is fine");
    }
}
