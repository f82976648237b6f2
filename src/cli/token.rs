//! `artifactapi token new|list|revoke`: the tokens of the catalog, beside running servers or without one.
//!
//! The text of a new token goes to standard output, once, and is kept nowhere; whoever loses it makes another. Servers are told
//! of every change, and ask the catalog within a second where they cannot be.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::access::{Grants, ScopedGrants, Token, TokenName};
use crate::app::{open_tokens, tell_that_tokens_changed};
use crate::calendar::rfc3339;
use crate::config::{Repositories, Settings, duration};
use crate::engine::held::now;
use crate::store::catalog::tokens::{Created, NewToken, TOKENS_LISTED, TokenRecord};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Tokens {
    /// Make a token and print it. It is not shown again.
    New {
        /// What it is called, in lists and logs.
        name: TokenName,
        /// What it allows: read, write, delete or admin on a repository, or on all of them as in '*=read'. May be given more
        /// than once.
        #[arg(long = "grant", value_name = "REPOSITORY=GRANT,GRANT", required = true)]
        grants: Vec<ScopedGrants>,
        /// After how long it is worth nothing: 30d, 12h; never if left out.
        #[arg(long, value_parser = duration::parse)]
        expires: Option<std::time::Duration>,
    },
    /// List the tokens there are, without their texts.
    List,
    /// Remove a token: every server refuses it within a second.
    Revoke {
        /// Which.
        name: TokenName,
    },
}

pub(super) fn run(settings: &Settings, what: Tokens) -> ExitCode {
    super::answer(settings, async |repositories| text(settings, repositories, what).await)
}

async fn text(
    settings: &Settings,
    repositories: &Repositories,
    what: Tokens,
) -> Result<String, Box<dyn std::error::Error>> {
    match what {
        Tokens::New { name, grants, expires } => create(settings, repositories, name, grants, expires).await,
        Tokens::List => list(settings, repositories).await,
        Tokens::Revoke { name } => {
            if open_tokens(settings).await?.revoke(&name).await? {
                tell(settings).await;
                return Ok(format!("{name} is revoked\n"));
            }
            if repositories.tokens().iter().any(|token| token.name == name) {
                return Err(format!("{name} stands in the configuration; take it out of access: there").into());
            }
            Err(format!("there is no token {name}").into())
        }
    }
}

async fn create(
    settings: &Settings,
    repositories: &Repositories,
    name: TokenName,
    grants: Vec<ScopedGrants>,
    expires: Option<std::time::Duration>,
) -> Result<String, Box<dyn std::error::Error>> {
    let grants: Grants = grants.into_iter().collect();
    if let Some(unknown) = grants.repositories().find(|name| repositories.get(name.as_str()).is_none()) {
        return Err(format!("there is no repository {unknown:?} in the configuration").into());
    }
    if repositories.tokens().iter().any(|token| token.name == name) {
        return Err(format!("a token of the configuration is called {name}; choose another name").into());
    }
    let token = Token::random()?;
    let created_at = now();
    let expires_at =
        expires.map(|after| created_at.checked_add(after).ok_or("--expires is too far away")).transpose()?;
    let new = NewToken { name, hash: token.hash(), grants, created_at, expires_at };
    match open_tokens(settings).await?.create(&new).await? {
        Created::Made(_) => {
            tell(settings).await;
            Ok(format!("{}\n", token.expose()))
        }
        Created::NameTaken => {
            Err(format!("there is a token {} already; revoke it first, or choose another name", new.name).into())
        }
    }
}

async fn list(settings: &Settings, repositories: &Repositories) -> Result<String, Box<dyn std::error::Error>> {
    let tokens = open_tokens(settings).await?;
    let mut text = String::new();
    for token in repositories.tokens() {
        writeln!(text, "{}\t{}\tin the configuration", token.name, token.grants)?;
    }
    let mut after = None;
    loop {
        let page = tokens.list(after.as_ref(), TOKENS_LISTED).await?;
        page.iter().for_each(|token| text.push_str(&line(token)));
        if page.len() < TOKENS_LISTED as usize {
            return Ok(text);
        }
        after = page.last().map(|last| last.name.clone());
    }
}

fn line(token: &TokenRecord) -> String {
    let expires = match token.expires_at {
        Some(at) if at <= now() => format!("expired {}", rfc3339(at)),
        Some(at) => format!("expires {}", rfc3339(at)),
        None => "never expires".to_owned(),
    };
    let used = token.last_used.map_or_else(|| "never used".to_owned(), |at| format!("last used {}", rfc3339(at)));
    format!("{}\t{}\tmade {}\t{expires}\t{used}\n", token.name, token.grants, rfc3339(token.created_at))
}

/// What was changed is changed; that nobody could be told delays it by less than a second.
async fn tell(settings: &Settings) {
    if let Err(error) = tell_that_tokens_changed(settings).await {
        eprintln!("artifactapi: {error}; they find out by themselves within a second");
    }
}
