//! Whether the virtual repositories make sense together: members exist, share a format, lead nowhere in circles, are not nested
//! without end, and are not shown to everybody by accident; uploads go to a member that takes them.
//!
//! [`check`] says what is wrong; when nothing is, [`join`] gives every virtual repository its members as values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::problem::Place;
use super::reader::Reader;
use super::repositories::{Kind, Repository};
use super::suggest::closest;
use crate::store::key::RepositoryName;

/// How deep virtual repositories may lie within each other. A request asks its way through them, and each level costs stack.
const MAX_NESTING: usize = 16;

/// A repository as far as it could be read.
pub(super) struct Draft {
    pub(super) name: RepositoryName,
    /// The name of its format; `None` when `package:` is wrong, which has been reported.
    pub(super) format: Option<&'static str>,
    /// The word of its `type:`; `None` when that is wrong, which has been reported.
    pub(super) r#type: Option<&'static str>,
    /// Empty unless it is virtual.
    pub(super) members: Vec<Member>,
    /// Where uploads to it go; `None` unless it is virtual.
    pub(super) deploy_to: Option<Member>,
    /// `anonymous_read`, where it is written.
    pub(super) said_of_reading: Option<bool>,
    /// `None` when something about it is wrong.
    pub(super) repository: Option<Repository>,
}

/// A name of another repository.
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
        if let Some((member, text)) =
            draft.deploy_to.as_ref().and_then(|to| Some((to, misdirected(draft, to, &by_name)?)))
        {
            reader.report(member.place, &member.key, text);
        }
    }
    let before = reader.problems.len();
    circles(&by_name, reader);
    if reader.problems.len() == before {
        nesting(&by_name, reader);
    }
}

/// The repositories by their names, each virtual one with its members. Of drafts that were found right.
pub(super) fn join(drafts: Vec<Draft>) -> BTreeMap<RepositoryName, Arc<Repository>> {
    let mut joined: BTreeMap<RepositoryName, Arc<Repository>> = BTreeMap::new();
    let mut waiting = drafts;
    loop {
        let before = waiting.len();
        for draft in std::mem::take(&mut waiting) {
            let members: Vec<_> = draft.members.iter().filter_map(|member| joined.get(&member.name).cloned()).collect();
            if members.len() < draft.members.len() {
                waiting.push(draft);
                continue;
            }
            let Some(mut repository) = draft.repository else { continue };
            if let Kind::Virtual(all) = &mut repository.kind {
                let to = draft.deploy_to.as_ref();
                all.deploy_to = members.iter().find(|member| to.is_some_and(|to| to.name == member.name)).cloned();
                all.members = members;
            }
            joined.insert(draft.name, Arc::new(repository));
        }
        // Each round settles one level of nesting; nothing waits for ever, for circles have been refused.
        if waiting.is_empty() || waiting.len() == before {
            return joined;
        }
    }
}

/// Why uploads cannot go there.
fn misdirected(draft: &Draft, to: &Member, by_name: &ByName<'_>) -> Option<String> {
    let is_local = |name: &RepositoryName| by_name.get(name).is_some_and(|found| found.r#type == Some("local"));
    if draft.members.iter().any(|member| member.name == to.name) {
        // One that does not exist has been reported where it stands among the members.
        let found = by_name.get(&to.name)?.r#type?;
        return (found != "local")
            .then(|| format!("{} is type: {found}, which takes no uploads; name a member of type: local", to.name));
    }
    let locals: Vec<_> = draft.members.iter().map(|member| &member.name).filter(|name| is_local(name)).collect();
    let hint = match &locals[..] {
        [] => "add a repository of type: local to them".to_owned(),
        locals => format!("write {}", locals.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" or ")),
    };
    Some(format!("{:?} is none of the members; {hint}", to.name))
}

/// Reports virtual repositories that lie too deep, at the first level that does. There are no circles.
fn nesting(by_name: &ByName<'_>, reader: &mut Reader<'_, '_>) {
    let mut settled: BTreeSet<&RepositoryName> = BTreeSet::new();
    let is_settled = |draft: &Draft, settled: &BTreeSet<&RepositoryName>| {
        draft.members.iter().all(|member| settled.contains(&member.name) || !by_name.contains_key(&member.name))
    };
    // The first round settles what has no members; every further one a level of virtual repositories.
    for _ in 0..=MAX_NESTING {
        let level: Vec<_> =
            by_name.iter().filter(|(_, draft)| is_settled(draft, &settled)).map(|(name, _)| *name).collect();
        settled.extend(level);
    }
    let too_deep = by_name.values().filter(|draft| !settled.contains(&draft.name) && is_settled(draft, &settled));
    for draft in too_deep {
        if let Some(member) = draft.members.first() {
            let text = format!(
                "virtual repositories lie more than {MAX_NESTING} deep within each other here; name members of the members"
            );
            reader.report(member.place, &member.key, text);
        }
    }
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
