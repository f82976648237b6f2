//! Tokens: created, found, used, revoked.

use super::{Subject, at};
use crate::access::{Token, TokenHash};
use crate::store::catalog::CatalogErrorKind;
use crate::store::catalog::tokens::{Created, NewToken, TokenRecord};

fn new(name: &str) -> (NewToken, Token) {
    let token = Token::random().expect("random numbers");
    let new = NewToken {
        name: name.parse().expect("a name"),
        hash: token.hash(),
        grants: "*=read local-rpm=read,write".parse().expect("grants"),
        created_at: at(0),
        expires_at: Some(at(60)),
    };
    (new, token)
}

impl Subject {
    async fn made(&self, token: &NewToken) -> TokenRecord {
        let Created::Made(id) = self.tokens.create(token).await.expect("an answer") else {
            panic!("the name is taken")
        };
        let NewToken { name, hash, grants, created_at, expires_at } = token.clone();
        TokenRecord { id, name, hash, grants, created_at, expires_at, last_used: None }
    }

    async fn found(&self, hash: &TokenHash) -> Option<TokenRecord> {
        self.tokens.find(hash).await.expect("an answer")
    }
}

pub(super) async fn a_token_is_found_by_its_digest(subject: Subject) {
    let (mut one, text) = new("one");
    let (mut other, _) = new("other");
    other.expires_at = None;
    one.grants = "*=admin".parse().expect("grants");
    let (one, other) = (subject.made(&one).await, subject.made(&other).await);
    assert_eq!(subject.found(&text.hash()).await, Some(one.clone()));
    assert_eq!(subject.found(&other.hash).await, Some(other.clone()));
    assert_eq!(subject.found(&TokenHash::of("neither")).await, None);
    assert!(one.id < other.id);
    assert!(!format!("{one:?}").contains(text.expose()));
}

pub(super) async fn a_name_is_given_once(subject: Subject) {
    let (first, second) = (new("ci").0, new("ci").0);
    let first = subject.made(&first).await;
    assert_eq!(subject.tokens.create(&second).await.expect("an answer"), Created::NameTaken);
    assert_eq!(subject.found(&second.hash).await, None);
    assert_eq!(subject.found(&first.hash).await, Some(first));

    let sixteen: Vec<NewToken> = (0..16).map(|_| new("race").0).collect();
    let all = sixteen.iter().map(|token| subject.tokens.create(token));
    let outcomes = futures_util::future::join_all(all).await;
    let made = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Created::Made(_)))).count();
    assert_eq!(made, 1);
}

pub(super) async fn a_revoked_token_is_gone(subject: Subject) {
    let token = new("ci").0;
    let first = subject.made(&token).await;
    assert!(subject.tokens.revoke(&token.name).await.expect("an answer"));
    assert!(!subject.tokens.revoke(&token.name).await.expect("an answer"), "nothing is left to revoke");
    assert_eq!(subject.found(&token.hash).await, None);
    subject.tokens.used(first.id, at(5)).await.expect("it is passed over");
    let again = subject.made(&new("ci").0).await;
    assert!(again.id > first.id, "a number is never given again");
}

pub(super) async fn tokens_are_listed_by_name(subject: Subject) {
    let mut made = Vec::new();
    for name in ["b", "a", "B", "c-1", "c.1"] {
        made.push(subject.made(&new(name).0).await);
    }
    made.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(subject.tokens.list(None, 100).await.expect("a list"), made);
    let page = subject.tokens.list(None, 2).await.expect("a list");
    assert_eq!(page, made[..2]);
    let rest = subject.tokens.list(page.last().map(|last| &last.name), 100).await.expect("a list");
    assert_eq!(rest, made[2..]);
}

pub(super) async fn use_is_noted_and_never_moves_backwards(subject: Subject) {
    let token = subject.made(&new("ci").0).await;
    for (told, known) in [(7, 7), (5, 7), (9, 9)] {
        subject.tokens.used(token.id, at(told)).await.expect("noted");
        assert_eq!(subject.found(&token.hash).await.expect("the token").last_used, Some(at(known)));
    }
}

pub(super) async fn a_damaged_token_allows_nothing(subject: Subject) {
    let token = subject.made(&new("ci").0).await;
    subject.execute("UPDATE access_token SET grants = '*=everything'").await;
    let error = subject.tokens.find(&token.hash).await.expect_err("it cannot be read");
    assert_eq!(error.kind, CatalogErrorKind::Damaged, "{error:?}");
}
