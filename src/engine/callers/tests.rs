use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::access::{Decision, Grant, TokenId, decide};
use crate::config::Source;
use crate::store::catalog::CatalogErrorKind;
use crate::store::catalog::tokens::{Created, NewToken};
use crate::store::coordinator::in_process::InProcessCoordinator;

/// A catalog of tokens that can be away, and counts how often it is asked.
#[derive(Default)]
struct Shelf {
    tokens: Mutex<Vec<TokenRecord>>,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Shelf {
    fn answers(&self) -> Result<(), CatalogError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let error = CatalogError { kind: CatalogErrorKind::Unavailable, during: "a test", source: None };
        if self.away.load(Ordering::Relaxed) { Err(error) } else { Ok(()) }
    }
}

#[async_trait]
impl Tokens for Shelf {
    async fn create(&self, token: &NewToken) -> Result<Created, CatalogError> {
        self.answers()?;
        let mut tokens = self.tokens.lock();
        if tokens.iter().any(|known| known.name == token.name) {
            return Ok(Created::NameTaken);
        }
        let id = TokenId(i64::try_from(tokens.len()).expect("few"));
        let NewToken { name, hash, grants, created_at, expires_at } = token.clone();
        tokens.push(TokenRecord { id, name, hash, grants, created_at, expires_at, last_used: None });
        Ok(Created::Made(id))
    }

    async fn list(&self, _: Option<&TokenName>, _: u32) -> Result<Vec<TokenRecord>, CatalogError> {
        self.answers().map(|()| self.tokens.lock().clone())
    }

    async fn revoke(&self, name: &TokenName) -> Result<bool, CatalogError> {
        self.answers()?;
        self.tokens.lock().retain(|token| token.name != *name);
        Ok(true)
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, CatalogError> {
        self.answers().map(|()| self.tokens.lock().iter().find(|token| token.hash == *hash).cloned())
    }

    async fn used(&self, id: TokenId, at: SystemTime) -> Result<(), CatalogError> {
        let mut tokens = self.tokens.lock();
        tokens.iter_mut().filter(|token| token.id == id).for_each(|token| token.last_used = Some(at));
        Ok(())
    }
}

const OPERATORS: &str = "an-operators-own-token";

fn repositories(access: &str) -> Arc<LiveRepositories> {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("remotes: {{r: {{type: local, package: generic, anonymous_read: false}}}}\n{access}");
    std::fs::write(folder.path().join("remotes.yaml"), text).expect("written");
    let environment = |name: &str| (name == "TOKEN").then(|| OPERATORS.to_owned());
    let file = Some(Path::new("remotes.yaml"));
    let source = Source::find(file, folder.path(), artifactapi_formats::FORMATS, Arc::new(environment)).expect("named");
    Arc::new(LiveRepositories::new(source.load().expect("valid")))
}

struct Scene {
    callers: Arc<Callers>,
    shelf: Arc<Shelf>,
}

impl Scene {
    fn new(administrator: Option<&str>, access: &str) -> Self {
        let shelf = Arc::new(Shelf::default());
        let callers = Callers::new(administrator, repositories(access), Arc::clone(&shelf) as Arc<dyn Tokens>);
        Self { callers: Arc::new(callers), shelf }
    }

    async fn token(&self, name: &str, grants: &str, expires_at: Option<SystemTime>) -> Token {
        let token = Token::random().expect("random");
        let (name, grants) = (name.parse().expect("a name"), grants.parse().expect("grants"));
        let new = NewToken { name, hash: token.hash(), grants, created_at: now(), expires_at };
        assert!(matches!(self.shelf.create(&new).await, Ok(Created::Made(_))));
        token
    }

    async fn may(&self, text: &str, needed: Grant) -> Decision {
        let caller = self.callers.who_presents(text).await.expect("somebody's");
        let name = "r".parse().expect("a name");
        decide(&caller, crate::access::Policy { repository: &name, anonymous_read: false }, needed)
    }
}

#[tokio::test]
async fn tokens_of_operators_cost_no_question() {
    let access = "access: {tokens: [{name: ci, token_env: TOKEN, grants: {r: [write]}}]}";
    let scene = Scene::new(Some("hunter2"), access);
    scene.shelf.away.store(true, Ordering::Relaxed);
    assert_eq!(scene.may("hunter2", Grant::Admin).await, Decision::Allowed);
    assert_eq!(scene.may(OPERATORS, Grant::Write).await, Decision::Allowed);
    assert_eq!(scene.may(OPERATORS, Grant::Read).await, Decision::Forbidden);
    let long = "x".repeat(LONGEST + 1);
    let mut mistyped = Token::random().expect("random").expose().to_owned();
    mistyped.pop();
    for (wrong, why) in [
        ("hunter3", NobodysToken::Unknown),
        ("", NobodysToken::Unfit),
        (&*long, NobodysToken::Unfit),
        (&*mistyped, NobodysToken::Mistyped),
    ] {
        assert_eq!(scene.callers.who_presents(wrong).await, Err(why), "{wrong}");
    }
    assert_eq!(scene.shelf.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_is_good_for_a_moment() {
    let scene = Scene::new(None, "");
    let token = scene.token("ci", "r=write", None).await;
    for _ in 0..10 {
        assert_eq!(scene.may(token.expose(), Grant::Write).await, Decision::Allowed);
    }
    assert!(scene.shelf.asked.load(Ordering::Relaxed) <= 3, "created, and looked up once or, on a slow machine, twice");
    scene.shelf.revoke(&"ci".parse().expect("a name")).await.expect("revoked");
    tokio::time::sleep(FRESH).await;
    assert_eq!(scene.callers.who_presents(token.expose()).await, Err(NobodysToken::Unknown));
}

#[tokio::test]
async fn news_end_it_at_once() {
    let scene = Scene::new(None, "");
    let coordinator: Arc<dyn Coordinator> = Arc::new(InProcessCoordinator::new());
    let hearing = tokio::spawn(Arc::clone(&scene.callers).hear(Arc::clone(&coordinator)));
    tokio::task::yield_now().await;
    let token = scene.token("ci", "r=read", None).await;
    for event in [Event::Missed, Event::TokensChanged] {
        assert_eq!(scene.may(token.expose(), Grant::Read).await, Decision::Allowed);
        let before = scene.shelf.asked.load(Ordering::Relaxed);
        coordinator.announce(event).await;
        tokio::task::yield_now().await;
        assert_eq!(scene.may(token.expose(), Grant::Read).await, Decision::Allowed);
        assert_eq!(scene.shelf.asked.load(Ordering::Relaxed), before + 1);
    }
    hearing.abort();
}

#[tokio::test]
async fn while_the_catalog_is_away_who_was_known_may_read() {
    let scene = Scene::new(None, "");
    let (known, unknown) = (scene.token("known", "*=admin", None).await, scene.token("new", "*=admin", None).await);
    assert_eq!(scene.may(known.expose(), Grant::Write).await, Decision::Allowed);
    scene.shelf.away.store(true, Ordering::Relaxed);
    scene.callers.doubt_all();
    assert_eq!(scene.may(known.expose(), Grant::Read).await, Decision::Allowed);
    for change in [Grant::Write, Grant::Delete, Grant::Admin] {
        assert_eq!(scene.may(known.expose(), change).await, Decision::NotNow);
    }
    assert_eq!(scene.may(unknown.expose(), Grant::Read).await, Decision::NotNow);
}

#[tokio::test]
async fn time_runs_out_between_two_questions() {
    let scene = Scene::new(None, "");
    let over = scene.token("over", "r=read", Some(now())).await;
    assert_eq!(scene.callers.who_presents(over.expose()).await, Err(NobodysToken::Expired));
    let soon = scene.token("soon", "r=read", Some(SystemTime::now() + Duration::from_millis(200))).await;
    assert_eq!(scene.may(soon.expose(), Grant::Read).await, Decision::Allowed);
    tokio::time::sleep(Duration::from_millis(210)).await;
    assert_eq!(scene.callers.who_presents(soon.expose()).await, Err(NobodysToken::Expired));
}

#[tokio::test]
async fn the_first_start_makes_one_token_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = Scene::new(None, "");
    scene.shelf.away.store(true, Ordering::Relaxed);
    let made = async || make_first_token(&scene.callers, folder.path()).await.expect("no trouble");
    assert_eq!(made().await, FirstToken::NotKnown);
    scene.shelf.away.store(false, Ordering::Relaxed);
    let file = folder.path().join(FIRST_TOKEN_FILE);
    assert_eq!(made().await, FirstToken::Made(file.clone()));
    assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("its text");
    assert_eq!(scene.may(text.trim_end(), Grant::Admin).await, Decision::Allowed);
    assert_eq!(made().await, FirstToken::NotNeeded);
    assert_eq!(std::fs::read_to_string(&file).expect("its text"), text);

    // Revoked, and none in its place: the next start makes another.
    scene.shelf.revoke(&"admin".parse().expect("a name")).await.expect("revoked");
    assert_eq!(made().await, FirstToken::Made(file.clone()));
    assert_ne!(std::fs::read_to_string(&file).expect("its text"), text);
}

#[tokio::test]
async fn who_has_a_token_needs_no_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = "access: {tokens: [{name: ci, token_env: TOKEN, grants: {r: [read]}}]}";
    for scene in [Scene::new(Some("hunter2"), ""), Scene::new(None, access)] {
        assert_eq!(make_first_token(&scene.callers, folder.path()).await.expect("no trouble"), FirstToken::NotNeeded);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
