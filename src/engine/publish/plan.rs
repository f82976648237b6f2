//! What changes come to, on top of the index there is.
//!
//! A pure rule: changes are taken in their order, and each meets what those before it leave under its path, as if they had been
//! published one after another. What is published in the end is the difference between what a path had at first and what it
//! has at last: a package that is removed and put again in one batch is put, one that is put and removed was never there.

use std::collections::{BTreeMap, HashMap};

use artifactapi_formats::{PackageEntry, RepoPath, Sha256};

use super::sheet::{Listed, Sheet};
use super::{Change, Outcome};
use crate::store::catalog::Artifact;
use crate::store::catalog::snapshots::{PackageMark, PackageRowId, Snapshot};
use crate::store::key::Target;

/// What the next snapshot has that the one before has not, and the other way round.
#[derive(Default)]
pub(super) struct Plan {
    /// What becomes of each change, in their order.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) put: Vec<PackageEntry>,
    /// The bytes of what is put.
    pub(super) records: Vec<Artifact>,
    pub(super) carried: Vec<Artifact>,
    /// Packages and carried files that the next snapshot does not have. Nothing of these is put or carried.
    pub(super) removed: Vec<RepoPath>,
    /// The records of what is removed, as they were when it was decided.
    pub(super) retired: Vec<Artifact>,
    /// Packages that take the place of others.
    pub(super) replaced: Vec<Target>,
    /// Rows of packages that are removed or replaced.
    pub(super) dropped: Vec<PackageRowId>,
    /// What the next snapshot is made of, if not of uploads.
    pub(super) source: String,
    /// Whether the index is to be written though it lists what it did, of pieces that are all made afresh.
    pub(super) is_anew: bool,
}

impl Plan {
    pub(super) fn changes_nothing(&self) -> bool {
        !self.is_anew
            && self.records.is_empty()
            && self.put.is_empty()
            && self.removed.is_empty()
            && self.carried.is_empty()
    }
}

/// What there is before the changes.
#[derive(Clone, Copy)]
pub(super) struct Before<'b> {
    pub(super) sheet: &'b Sheet,
    pub(super) snapshot: Option<&'b Snapshot>,
    /// The current records of paths that [`Before::has`] and that are to be put or removed, as far as there are any.
    pub(super) records: &'b HashMap<RepoPath, Artifact>,
}

impl Before<'_> {
    /// Whether the index lists or carries something under a path.
    pub(super) fn has(&self, path: &RepoPath) -> bool {
        self.sheet.mark_of(path).is_some() || self.carried(path).is_some()
    }

    fn carried(&self, path: &RepoPath) -> Option<&Artifact> {
        self.snapshot.and_then(|snapshot| snapshot.file(path)).filter(|_| self.sheet.mark_of(path).is_none())
    }

    fn there(&self, path: &RepoPath) -> There {
        match (self.sheet.mark_of(path), self.carried(path)) {
            (Some(mark), _) => There::Package { mark, sha256: self.records.get(path).map(|record| record.sha256) },
            (None, Some(file)) => There::Carried(file.sha256),
            (None, None) => There::Nothing,
        }
    }
}

/// What is under a path when a change comes to it.
#[derive(Clone, Copy)]
enum There {
    Nothing,
    /// Without a digest if its record was lost.
    Package {
        mark: PackageMark,
        sha256: Option<Sha256>,
    },
    Carried(Sha256),
}

/// What a path is to have.
#[derive(Clone, Copy)]
enum Planned<'c> {
    Nothing,
    Package(&'c Artifact, &'c PackageEntry),
    Carried(&'c Artifact),
}

impl Planned<'_> {
    fn there(&self) -> There {
        match self {
            Self::Nothing => There::Nothing,
            Self::Package(record, entry) => {
                There::Package { mark: Listed::of(entry).mark, sha256: Some(record.sha256) }
            }
            Self::Carried(record) => There::Carried(record.sha256),
        }
    }
}

/// What changes come to. Of [`Plan::dropped`] nothing is known here.
pub(super) fn plan(before: Before<'_>, overwrite: bool, changes: &[&Change]) -> Plan {
    let mut plan = Plan::default();
    let mut planned: BTreeMap<&RepoPath, Planned<'_>> = BTreeMap::new();
    for change in changes {
        let (path, next) = match change {
            Change::Put { record, described } => (&record.target.path, Planned::Package(record, &described.entry)),
            Change::Carry { record } => (&record.target.path, Planned::Carried(record)),
            Change::Remove { path } => (path, Planned::Nothing),
            Change::Renew { list } => {
                let has_list = before.snapshot.is_some_and(|snapshot| snapshot.file(list).is_some());
                plan.is_anew |= has_list;
                plan.outcomes.push(if has_list { Outcome::Replaced } else { Outcome::Unchanged });
                continue;
            }
        };
        let there = planned.get(path).map_or_else(|| before.there(path), Planned::there);
        let outcome = outcome(there, next, overwrite);
        if matches!(outcome, Outcome::Created | Outcome::Replaced | Outcome::Removed) {
            planned.insert(path, next);
        }
        plan.outcomes.push(outcome);
    }
    for (path, last) in planned {
        plan.take(before, path, last);
    }
    plan
}

/// What becomes of a change that meets this.
fn outcome(there: There, next: Planned<'_>, overwrite: bool) -> Outcome {
    let is_the_same = match (there, next) {
        (There::Nothing, Planned::Nothing) => return Outcome::Absent,
        (_, Planned::Nothing) => return Outcome::Removed,
        (There::Nothing, _) => return Outcome::Created,
        // Its record was lost; the same package again is as good as it.
        (There::Package { mark, sha256: None }, Planned::Package(_, entry)) if mark == Listed::of(entry).mark => {
            return Outcome::Replaced;
        }
        (There::Package { sha256, .. }, Planned::Package(record, _)) => sha256 == Some(record.sha256),
        (There::Carried(sha256), Planned::Carried(record)) => sha256 == record.sha256,
        (There::Package { .. }, Planned::Carried(_)) | (There::Carried(_), Planned::Package(..)) => false,
    };
    match is_the_same {
        true => Outcome::Unchanged,
        false if overwrite => Outcome::Replaced,
        false => Outcome::Conflict,
    }
}

impl Plan {
    /// Takes what a path has at last.
    fn take(&mut self, before: Before<'_>, path: &RepoPath, last: Planned<'_>) {
        match (before.there(path), last) {
            (There::Nothing, Planned::Nothing) => {}
            (_, Planned::Nothing) => {
                self.removed.push(path.clone());
                self.retired.extend(before.records.get(path).cloned());
            }
            // It went and came back.
            (There::Package { mark, sha256 }, Planned::Package(record, entry))
                if sha256 == Some(record.sha256) && mark == Listed::of(entry).mark => {}
            (There::Carried(sha256), Planned::Carried(record)) if sha256 == record.sha256 => {}
            (there, Planned::Package(record, entry)) => {
                if let There::Package { .. } = there {
                    self.replaced.push(record.target.clone());
                }
                self.put.push(entry.clone());
                self.records.push(record.clone());
            }
            (_, Planned::Carried(record)) => self.carried.push(record.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use artifactapi_formats::Identity;
    use artifactapi_formats::publish::Described;

    use super::Outcome::{Absent, Conflict, Created, Removed, Replaced, Unchanged};
    use super::*;
    use crate::store::catalog::snapshots::SnapshotId;
    use crate::store::catalog::{Revision, Validators};

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).expect("a path")
    }

    fn record(name: &str, content: &str) -> Artifact {
        let target = Target::new("ours".parse().expect("a name"), path(name));
        Artifact {
            revision: Revision(7),
            blob: target.first_blob_key(),
            size: 1,
            sha256: Sha256::of(content.as_bytes()),
            content_type: String::new(),
            validators: Validators::default(),
            last_modified: SystemTime::UNIX_EPOCH,
            stored_at: SystemTime::UNIX_EPOCH,
            checked_at: SystemTime::UNIX_EPOCH,
            identity: None,
            target,
        }
    }

    fn entry(name: &str, content: &str) -> PackageEntry {
        PackageEntry {
            name: name.to_owned(),
            version: "1".to_owned(),
            arch: "noarch".to_owned(),
            path: path(name),
            size: 1,
            identity: Identity::File(Sha256::of(content.as_bytes()).into()),
        }
    }

    /// A change as a word: `+p1` puts content 1 as package p, `~c1` carries it as c, `-p` removes p, `!c` renews the index for its list c.
    fn change(word: &str) -> Change {
        let (kind, rest) = word.split_at(1);
        let (name, content) = rest.split_at(1);
        match kind {
            "+" => Change::Put {
                record: record(name, content),
                described: Described { entry: entry(name, content), fragments: Vec::new() },
            },
            "~" => Change::Carry { record: record(name, content) },
            "!" => Change::Renew { list: path(name) },
            _ => Change::Remove { path: path(name) },
        }
    }

    /// Plans on top of an index that lists `p` and `q` and carries `c`, each with content 1; the record of `q` is lost. What becomes
    /// of each change, and what is published, in words like those of the changes; `!p` for a package whose past is kept.
    fn planned(overwrite: bool, changes: &str) -> (Vec<Outcome>, String) {
        let sheet = Sheet::of(vec![Listed::of(&entry("p", "1")), Listed::of(&entry("q", "1"))]);
        let snapshot = Snapshot {
            id: SnapshotId(1),
            root: record("index", "").target,
            published_at: SystemTime::UNIX_EPOCH,
            made_at: None,
            source: String::new(),
            packages: 2,
            tags: Vec::new(),
            files: vec![record("c", "1"), record("p", "1")],
        };
        let records = ["p", "c"].map(|name| (path(name), record(name, "1"))).into();
        let changes: Vec<Change> = changes.split_whitespace().map(change).collect();
        let before = Before { sheet: &sheet, snapshot: Some(&snapshot), records: &records };
        let plan = plan(before, overwrite, &changes.iter().collect::<Vec<_>>());

        let content = |record: &Artifact| (1..4).find(|at| record.sha256 == Sha256::of(at.to_string().as_bytes()));
        let worded =
            |sign, record: &Artifact| format!("{sign}{}{}", record.target.path, content(record).expect("a content"));
        let mut words: Vec<String> = plan.records.iter().map(|record| worded("+", record)).collect();
        words.extend(plan.carried.iter().map(|record| worded("~", record)));
        words.extend(plan.removed.iter().map(|path| format!("-{path}")));
        words.extend(plan.replaced.iter().map(|target| format!("!{}", target.path)));
        words.sort();
        assert_eq!(plan.put.len(), plan.records.len());
        words.extend(plan.is_anew.then(|| "anew".to_owned()));
        assert_eq!(plan.changes_nothing(), words.is_empty());
        let kept = |record: &Artifact| plan.removed.contains(&record.target.path);
        assert!(plan.retired.iter().all(kept), "only what is gone loses its record");
        (plan.outcomes, words.join(" "))
    }

    #[test]
    fn each_change_meets_what_those_before_it_leave() {
        let either_way: &[(&str, &[Outcome], &str)] = &[
            ("", &[], ""),
            ("+p1", &[Unchanged], ""),
            ("+q1", &[Replaced], "!q +q1"),
            ("+n1", &[Created], "+n1"),
            ("+n1 +n1", &[Created, Unchanged], "+n1"),
            ("+n1 -n", &[Created, Removed], ""),
            ("+n1 -n +n2", &[Created, Removed, Created], "+n2"),
            ("-p", &[Removed], "-p"),
            ("-p -p", &[Removed, Absent], "-p"),
            ("-n", &[Absent], ""),
            ("-p +p1", &[Removed, Created], ""),
            ("-p +p2", &[Removed, Created], "!p +p2"),
            ("-q +q1", &[Removed, Created], "!q +q1"),
            ("-p +p2 -p", &[Removed, Created, Removed], "-p"),
            ("-p +p2 -p +p3", &[Removed, Created, Removed, Created], "!p +p3"),
            ("~c1", &[Unchanged], ""),
            ("~d1", &[Created], "~d1"),
            ("~d1 ~d1", &[Created, Unchanged], "~d1"),
            ("~d1 -d", &[Created, Removed], ""),
            ("-d ~d1", &[Absent, Created], "~d1"),
            ("-c", &[Removed], "-c"),
            ("-c ~c1", &[Removed, Created], ""),
            ("-c ~c2", &[Removed, Created], "~c2"),
            ("-c ~c2 -c", &[Removed, Created, Removed], "-c"),
            ("!c", &[Replaced], "anew"),
            ("!d", &[Unchanged], ""),
            ("!c +n1 -n !c", &[Replaced, Created, Removed, Replaced], "anew"),
            ("-c -p +n1 ~d2", &[Removed, Removed, Created, Created], "+n1 -c -p ~d2"),
        ];
        for (changes, outcomes, published) in either_way {
            for overwrite in [false, true] {
                let (became, words) = planned(overwrite, changes);
                assert_eq!((&*became, &*words), (*outcomes, *published), "{changes}, overwrite: {overwrite}");
            }
        }
        let by_overwrite: &[(&str, bool, &[Outcome], &str)] = &[
            ("+p2", false, &[Conflict], ""),
            ("+p2", true, &[Replaced], "!p +p2"),
            ("+q2", false, &[Conflict], ""),
            ("+q2", true, &[Replaced], "!q +q2"),
            ("+p2 +p1", true, &[Replaced, Replaced], ""),
            ("+p2 -p", true, &[Replaced, Removed], "-p"),
            ("+n1 +n2", false, &[Created, Conflict], "+n1"),
            ("+n1 +n2", true, &[Created, Replaced], "+n2"),
            ("~c2", false, &[Conflict], ""),
            ("~c2", true, &[Replaced], "~c2"),
            ("~c2 ~c1", true, &[Replaced, Replaced], ""),
            ("~d1 ~d2", false, &[Created, Conflict], "~d1"),
            ("~d1 ~d2", true, &[Created, Replaced], "~d2"),
        ];
        for (changes, overwrite, outcomes, published) in by_overwrite {
            let (became, words) = planned(*overwrite, changes);
            assert_eq!((&*became, &*words), (*outcomes, *published), "{changes}, overwrite: {overwrite}");
        }
    }
}
