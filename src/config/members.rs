//! Whether the virtual repositories make sense together: members exist, share a format, lead nowhere in circles, and are not
//! shown to everybody by accident.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Place;
use super::reader::Reader;
use super::repositories::Repository;
use super::suggest::closest;
use crate::store::key::RepositoryName;

/// A repository as far as it could be read.
pub(super) struct Draft {
    pub(super) name: RepositoryName,
    /// The name of its format; `None` when `package:` is wrong, which has been reported.
    pub(super) format: Option<&'static str>,
    /// Empty unless it is virtual.
    pub(super) members: Vec<Member>,
    /// `anonymous_read`, where it is written.
    pub(super) said_of_reading: Option<bool>,
    /// `None` when something about it is wrong.
    pub(super) repository: Option<Repository>,
}

/// A name in `members:`.
pub(super) struct Member {
    pub(super) name: RepositoryName,
    pub(super) place: Place,
    /// The full path of the key.
    pub(super) key: String,
}

type ByName<'d> = BTreeMap<&'d RepositoryName, &'d Draft>;

/// Reports what is wrong with the members of all virtual repositories.
pub(super) fn check(drafts: &[Draft], reader: &mut Reader<'_, '_>) {
    let by_name: ByName<'_> = drafts.iter().map(|draft| (&draft.name, draft)).collect();
    for draft in drafts {
        let mut seen = BTreeSet::new();
        for member in &draft.members {
            if let Some(text) = mismatch(draft, member, &by_name, seen.insert(&member.name)) {
                reader.report(member.place, &member.key, text);
            }
        }
    }
    circles(&by_name, reader);
}

fn mismatch(draft: &Draft, member: &Member, by_name: &ByName<'_>, first: bool) -> Option<String> {
    if !first {
        return Some("named before; each member is asked once, so name it once".to_owned());
    }
    let Some(found) = by_name.get(&member.name) else {
        let names = by_name.keys().map(|name| name.as_str()).filter(|name| *name != draft.name.as_str());
        let hint =
            closest(member.name.as_str(), names).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Some(format!("there is no repository {:?}{hint}", member.name));
    };
    match (draft.format, found.format) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(format!(
            "{} is package: {theirs}, and this repository is package: {ours}; members share one",
            member.name
        )),
        _ if draft.said_of_reading.is_none() && found.said_of_reading == Some(false) => Some(format!(
            "{} has anonymous_read: false; say here, too, whether anybody may read it through this repository",
            member.name
        )),
        _ => None,
    }
}

/// Reports every way by which a repository leads back to itself, at the entry that closes the circle.
///
/// A walk in depth that keeps its way in a list of its own: a long chain of repositories must not cost stack.
fn circles(by_name: &ByName<'_>, reader: &mut Reader<'_, '_>) {
    let mut settled = BTreeSet::new();
    // The names in `way` below, to look them up.
    let mut on_way = BTreeSet::new();
    for (&start, draft) in by_name {
        if settled.contains(start) {
            continue;
        }
        let mut way = vec![(start, draft.members.iter())];
        while let Some((name, members)) = way.last_mut() {
            on_way.insert(*name);
            let Some(member) = members.next() else {
                settled.insert(*name);
                on_way.remove(*name);
                way.pop();
                continue;
            };
            if on_way.contains(&member.name) {
                let since = way.iter().position(|(name, _)| **name == member.name).unwrap_or_default();
                let names: Vec<_> = way.iter().skip(since).map(|(name, _)| name.as_str()).collect();
                let text = format!("leads in a circle ({} → {}); take one of them out", names.join(" → "), member.name);
                reader.report(member.place, &member.key, text);
            } else if let Some((&name, draft)) =
                by_name.get_key_value(&member.name).filter(|(name, _)| !settled.contains(*name))
            {
                way.push((name, draft.members.iter()));
            }
        }
    }
}
