//! Upstream misbehaves, in every way for every role: nothing wrong is kept, the answer is honest, the next request
//! recovers; and what is held is served all the same.
//!
//! Each cell of the table has a repository of its own over the same upstream (a tag in the URL tells them apart), so that
//! all cells of a role run at once and no fault meets what another left.

mod cold;
mod held;
mod mirrors;
mod redirects;
mod signed;

use crate::support::http::{End, Reply};
use crate::support::metrics::metric;
use crate::support::remotes::Remote;
use crate::support::services::Backend;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;
use crate::support::upstream::Upstream;
use crate::support::upstream::fault::Fault;

/// What can be known of a file's content without asking anybody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Everything: a digest or a checksum covers it.
    Content,
    /// What it must look like.
    Form,
    /// Nothing.
    Nothing,
}

/// A path, and what its name makes of it.
#[derive(Clone, Copy)]
struct Role {
    package: &'static str,
    path: &'static str,
    /// Held before: the index that says what the path is.
    index: Option<&'static str>,
    known: Known,
}

const fn role(package: &'static str, path: &'static str, known: Known) -> Role {
    Role { package, path, index: None, known }
}

const APK_INDEX: Role = role("alpine", "alpine/v3.22/main/x86_64/APKINDEX.tar.gz", Known::Content);
const ADB_INDEX: Role = role("alpine", "alpine/feed/x86_64/packages.adb", Known::Form);
const RPM_INDEX: Role = role("rpm", "rpm/el9/x86_64/repodata/repomd.xml", Known::Form);
const COMPANION: Role = role("rpm", "rpm/el9/x86_64/repodata/repomd.xml.asc", Known::Form);
const HASH_NAMED_MEMBER: Role = role(
    "rpm",
    "rpm/el9/x86_64/repodata/53b6be490f8dd289dc3bda403e67ee2dc37bf844877751010e2633e0914697e9-primary.xml.gz",
    Known::Content,
);
const PLAIN_MEMBER: Role = Role {
    package: "rpm",
    path: "rpm/plain-names/repodata/primary.xml.gz",
    index: Some("rpm/plain-names/repodata/repomd.xml"),
    known: Known::Content,
};
const APK_PACKAGE: Role = role("alpine", "alpine/v3.22/main/x86_64/big-1.0-r0.apk", Known::Content);
const RPM_PACKAGE: Role = role("rpm", "rpm/el9/x86_64/Packages/b/big-1.0-1.el9.x86_64.rpm", Known::Content);
const FILE: Role = role("generic", "generic/1m.bin", Known::Nothing);

/// What a fault must lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The right bytes, and they are kept.
    Right,
    /// An error with this status, or a connection that is cut; nothing is kept.
    Honest(u16),
    /// Upstream's words are passed on, but not kept.
    Passed,
}

/// A fault with its outcome; `None` where nobody could tell what upstream sent from the file.
fn outcome(fault: &Fault, known: Known) -> Option<Outcome> {
    use Fault::*;
    use Outcome::*;
    Some(match fault {
        Status(403 | 404 | 410) => Honest(404),
        Status(_) | NotModified | Half | Compressed => Honest(502),
        Silent | Stalls(_) => Honest(504),
        Reset(_) | Truncated(_) | ChunkedCut(_) | DeclaresMore(_) => Honest(502),
        Drip(_) | Chunked | UntilClose | Deaf | Short(_) | RefusesHead(_) => Right,
        Redirect(_, to) if to.starts_with("http://") => Right,
        Redirect(..) => Honest(502),
        Page if known == Known::Nothing => Passed,
        Page => Honest(502),
        DisguisedPage | OtherContent | CloseCut(_) | DeclaresLess(_) if known != Known::Nothing => Honest(502),
        Corrupt(_) if known == Known::Content => Honest(502),
        DisguisedPage | OtherContent | CloseCut(_) | DeclaresLess(_) | Corrupt(_) => return None,
    })
}

/// Every way to misbehave, for a file of a size at a path of the upstream.
fn faults(size: u64, path: &str, upstream: &Upstream) -> Vec<Fault> {
    use Fault::*;
    let middle = size / 2;
    let mut faults: Vec<_> = [500, 503, 404, 403, 410].map(Status).into();
    faults.extend([Silent, Stalls(middle), Reset(middle), Truncated(middle), ChunkedCut(middle), CloseCut(middle)]);
    faults.extend([Truncated(0), Corrupt(middle), Corrupt(size - 1), Drip(size.max(2_000)), OtherContent]);
    faults.extend([DeclaresMore(10), DeclaresLess(10), Page, DisguisedPage, Chunked, UntilClose, Half, NotModified]);
    faults.extend([Deaf, Compressed]);
    faults
        .extend([301, 302, 303, 307, 308].map(|status| Redirect(status, upstream.url(&format!("/@elsewhere/{path}")))));
    // To itself for ever, to nowhere, to where we never go, and to the machine's own files.
    faults.extend(["", "//", "ftp://127.0.0.1/x", "file:///etc/hostname"].map(|to| Redirect(302, to.to_owned())));
    faults
}

/// One repository with one fault.
struct Cell {
    fault: Fault,
    outcome: Outcome,
    /// On the upstream.
    spoiled: String,
    /// Below `/api/`.
    path: String,
    index: Option<String>,
}

/// Silence is to be noticed before the test's own patience ends; nothing else is to be taken for it.
fn impatient(remote: Remote) -> Remote {
    remote.set("connect_timeout", "1s").set("idle_timeout", "2s")
}

/// A site with a cell for every fault that a role can have.
async fn cells(backend: Backend, role: Role, keys: &[(&str, &str)]) -> (Site, Vec<Cell>, Vec<u8>) {
    let mut setup = Setup::new(backend).await;
    let right = fixture(1, role.path);
    let (folder, below) = role.path.split_once('/').expect("a folder");
    let mut cells = Vec::new();
    for fault in faults(right.len() as u64, role.path, &setup.upstream) {
        let Some(outcome) = outcome(&fault, role.known) else { continue };
        let name = format!("cell-{}", cells.len());
        let mut remote = Remote::new(&name, role.package, setup.upstream.url(&format!("/@{name}/{folder}")))
            .set("cache.negative_ttl", 0);
        if fault.is_silence() {
            remote = impatient(remote);
        }
        for (key, value) in keys {
            remote = remote.set(key, *value);
        }
        setup = setup.remote(remote);
        cells.push(Cell {
            fault,
            outcome,
            spoiled: format!("/@{name}/{}", role.path),
            path: format!("{name}/{below}"),
            index: role.index.map(|index| format!("{name}/{}", index.split_once('/').expect("a folder").1)),
        });
    }
    let site = setup.start().await;
    (site, cells, right)
}

impl Fault {
    fn is_silence(&self) -> bool {
        matches!(self, Self::Silent | Self::Stalls(_))
    }

    /// Whether a body comes that is not the file: what `/metrics` counts as unfit, where it can be told. A compressed one is refused
    /// by its head.
    fn is_wrong(&self) -> bool {
        use Fault::*;
        matches!(self, Corrupt(_) | OtherContent | Page | DisguisedPage | Half)
            || matches!(self, Truncated(_) | ChunkedCut(_) | CloseCut(_) | DeclaresMore(_) | DeclaresLess(_))
    }
}

impl Cell {
    fn what(&self) -> String {
        format!("{} with {:?}", self.path, self.fault)
    }

    /// Whether the server must notice that a body is wrong, and count it.
    fn is_counted(&self) -> bool {
        self.fault.is_wrong() && matches!(self.outcome, Outcome::Honest(_))
    }

    /// The fault from now on.
    fn spoil(&self, site: &Site) {
        site.upstream.spoil(&self.spoiled, self.fault.clone());
    }

    /// Has the index that says what the file is.
    async fn prepare(&self, site: &Site) {
        if let Some(index) = &self.index {
            site.server.get(index).await.has(200);
            site.server.holds(index).await;
        }
    }

    /// Asks once, while the fault lasts.
    async fn is_answered(&self, site: &Site, right: &[u8]) {
        self.judge(&site.server.get(&self.path).await, right);
    }

    /// Fails unless an answer is what it must be while the fault lasts.
    fn judge(&self, reply: &Reply, right: &[u8]) {
        let what = self.what();
        match self.outcome {
            Outcome::Right => {
                assert!(reply.status == 200 && reply.end == End::Whole && reply.body == right, "{what}: {reply:?}")
            }
            Outcome::Passed => assert!(reply.status == 200 && reply.body != right, "{what}: {:?}", reply.head),
            Outcome::Honest(_) if reply.status == 200 => {
                assert_eq!(reply.end, End::Cut, "{what}: a broken body ended as if it were whole: {:?}", reply.head);
            }
            Outcome::Honest(status) => {
                assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
                let problem = reply.problem(status);
                assert!(problem.detail.contains("127.0.0.1"), "{what}: upstream is not named: {problem:?}");
            }
        }
    }

    /// Does something, and fails unless at least one body from upstream was refused meanwhile.
    async fn counts<T>(&self, site: &Site, doing: impl Future<Output = T>) -> T {
        let before = metric(&site.server, "upstream_unfit_total").await;
        let done = doing.await;
        // A client sees its body break a moment before that is counted.
        until(format!("{} to be counted", self.what()), || async {
            (metric(&site.server, "upstream_unfit_total").await > before).then_some(())
        })
        .await;
        done
    }

    async fn is_right(&self, site: &Site, right: &[u8], when: &str) {
        let reply = site.server.get(&self.path).await;
        assert!(
            reply.status == 200 && reply.end == End::Whole && reply.body == right,
            "{}, {when}: {:?} {:?}, {} bytes",
            self.what(),
            reply.head,
            reply.end,
            reply.body.len()
        );
    }
}
