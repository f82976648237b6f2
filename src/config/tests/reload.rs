//! Reloading, with real files, real signals and a real watcher. Every wait is for an event, with a time-out around it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::watch::{Pace, start};
use crate::config::{Credentials, Kind, LiveRepositories, ReloadError};

/// Longer than any of it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Quick, and with a clock that never interferes.
const EVENTS: Pace =
    Pace { quiet: Duration::from_millis(10), patience: Duration::from_secs(1), poll: Duration::from_secs(86_400) };

const GOOD: &str = "remotes: {one: {type: local, package: generic}}";
const BETTER: &str = "remotes: {one: {type: local, package: generic}, two: {type: local, package: rpm}}";
const BAD: &str = "remotes: {one: {type: lokal, package: generic}}";

struct Watched {
    live: Arc<LiveRepositories>,
    generations: Receiver<u64>,
    errors: Receiver<Option<Arc<ReloadError>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn new(folder: &Path, pace: Pace) -> Self {
        let stop = CancellationToken::new();
        let (live, task) = start(super::source(folder), pace, stop.clone()).expect("valid at first");
        Self { generations: live.generations(), errors: live.errors(), live, stop, task }
    }

    async fn generation(&mut self, expected: u64) {
        let reached = self.generations.wait_for(|&generation| generation >= expected);
        assert_eq!(*timeout(PATIENCE, reached).await.expect("in time").expect("open"), expected);
        assert_eq!(self.live.current().generation(), expected);
        assert!(self.live.last_error().is_none());
    }

    async fn error(&mut self, expected: bool) {
        let reached = self.errors.wait_for(|error| error.is_some() == expected);
        drop(timeout(PATIENCE, reached).await.expect("in time").expect("open"));
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
    }
}

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("remotes.yaml"), text).expect("write");
    folder
}

/// As editors save: another file, renamed.
fn save(folder: &Path, text: &str) {
    fs::write(folder.join(".remotes.yaml.new"), text).expect("write");
    fs::rename(folder.join(".remotes.yaml.new"), folder.join("remotes.yaml")).expect("rename");
}

fn hang_up() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).expect("signal");
}

#[tokio::test]
async fn good_then_bad_then_good() {
    let folder = folder(GOOD);
    let mut watched = Watched::new(folder.path(), EVENTS);
    watched.generation(1).await;
    assert!(watched.live.get("two").is_none());

    save(folder.path(), BAD);
    watched.error(true).await;
    let message = watched.live.last_error().expect("wrong").message.clone();
    let file = folder.path().join("remotes.yaml");
    let expected = format!("{}:1:23: remotes.one.type: \"lokal\" is not a type; did you mean local?", file.display());
    assert_eq!(message, expected);
    assert_eq!(watched.live.current().generation(), 1);
    assert!(watched.live.get("one").is_some());

    save(folder.path(), BETTER);
    watched.generation(2).await;
    assert!(watched.live.get("two").is_some());

    // Written in place, as `echo > remotes.yaml` does.
    fs::write(&file, GOOD).expect("write");
    watched.generation(3).await;

    fs::remove_file(&file).expect("remove");
    watched.error(true).await;
    assert!(watched.live.last_error().expect("gone").message.contains("No such file"));
    // What is in force comes back: nothing is wrong any more, and nothing changed.
    save(folder.path(), GOOD);
    watched.error(false).await;
    assert_eq!(watched.live.current().generation(), 3);
    watched.end().await;
}

#[tokio::test]
async fn sighup_looks_at_once() {
    let folder = folder(GOOD);
    // Deaf to events: the folder would have to be quiet for a day.
    let deaf = Pace { quiet: EVENTS.poll, patience: EVENTS.poll, poll: EVENTS.poll };
    let mut watched = Watched::new(folder.path(), deaf);
    save(folder.path(), BETTER);
    hang_up();
    watched.generation(2).await;
    save(folder.path(), BAD);
    hang_up();
    watched.error(true).await;
    save(folder.path(), BETTER);
    hang_up();
    watched.error(false).await;
    assert_eq!(watched.live.current().generation(), 2);
    watched.end().await;
}

#[tokio::test]
async fn the_clock_sees_what_no_event_tells_of() {
    let folder = folder(GOOD);
    let clock = Pace { quiet: EVENTS.poll, patience: EVENTS.poll, poll: Duration::from_millis(20) };
    let mut watched = Watched::new(folder.path(), clock);
    save(folder.path(), BETTER);
    watched.generation(2).await;
    watched.end().await;
}

/// How the kubelet updates a mounted ConfigMap: remotes.yaml is a link through `..data`, and `..data` is replaced.
#[tokio::test]
async fn config_map_swap() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    let version = |name: &str, text: &str| {
        fs::create_dir(at(name)).expect("folder");
        fs::write(at(name).join("remotes.yaml"), text).expect("write");
    };
    version("..1", GOOD);
    symlink("..1", at("..data")).expect("link");
    symlink("..data/remotes.yaml", at("remotes.yaml")).expect("link");
    let mut watched = Watched::new(folder.path(), EVENTS);
    for (next, text) in [(2_u64, BETTER), (3, GOOD), (4, BETTER)] {
        let name = format!("..{next}");
        version(&name, text);
        symlink(&name, at("..data_tmp")).expect("link");
        fs::rename(at("..data_tmp"), at("..data")).expect("rename");
        fs::remove_dir_all(at(&format!("..{}", next - 1))).expect("remove");
        watched.generation(next).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn a_rotated_secret_is_a_new_configuration() {
    let folder = folder(
        "remotes: {one: {base_url: 'https://example.com', package: rpm, include_patterns: [a], token_file: keys/token}}",
    );
    fs::create_dir(folder.path().join("keys")).expect("folder");
    fs::write(folder.path().join("keys/token"), "planted-one").expect("write");
    let mut watched = Watched::new(folder.path(), EVENTS);
    let digest = watched.live.current().digest().hex();
    fs::write(folder.path().join("keys/token.new"), "planted-two").expect("write");
    fs::rename(folder.path().join("keys/token.new"), folder.path().join("keys/token")).expect("rename");
    watched.generation(2).await;
    let one = watched.live.get("one").expect("one");
    let Kind::Remote(remote) = &one.kind else { panic!("remote") };
    let Some(Credentials::Bearer(token)) = &remote.credentials else { panic!("token") };
    assert_eq!(token.expose(), "planted-two");
    assert_eq!(watched.live.current().digest().hex(), digest, "shown, so it must not depend on the secret");
    watched.end().await;
}

#[tokio::test]
async fn a_wrong_file_at_start_is_an_error() {
    let folder = folder(BAD);
    assert!(start(super::source(folder.path()), EVENTS, CancellationToken::new()).is_err());
}
