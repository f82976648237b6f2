//! The first start: a server that nobody has given a token makes one for its administrator.
//!
//! The token goes into the catalog, so that every replica takes it and it can be revoked like any other, and its text into
//! `admin-token` in the data folder, for the administrator's eyes alone. The log says where it is and never what it is. The
//! file comes first: a token of which nobody has the text would be the one that keeps the next start from making another.
//! Of replicas that start together, the catalog lets one have the name; the others take their files away again.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Callers;
use crate::access::{Grants, Token, TokenName};
use crate::engine::held::now;
use crate::store::catalog::tokens::{Created, NewToken};
use crate::store::catalog::{CatalogError, CatalogErrorKind};

/// The name in the data folder of the file with the administrator's token.
pub const FIRST_TOKEN_FILE: &str = "admin-token";

/// How long to wait for a catalog that is away before it is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstToken {
    /// There are tokens.
    NotNeeded,
    /// There was none; one was made, and this file has it.
    Made(PathBuf),
    /// The catalog is away, so nobody knows whether there are any.
    NotKnown,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum FirstTokenError {
    /// The file cannot be written.
    #[error("the administrator's token cannot be kept in {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// There are no random numbers.
    #[error("the system has no random numbers")]
    Random(#[source] getrandom::Error),
    /// The catalog refuses.
    #[error("the catalog takes no token")]
    Catalog(#[from] CatalogError),
}

/// Makes the administrator's token if there is no token at all.
///
/// # Errors
/// [`FirstTokenError`] when there should be one and cannot. A catalog that is away is [`FirstToken::NotKnown`].
pub async fn make_first_token(callers: &Callers, data_dir: &Path) -> Result<FirstToken, FirstTokenError> {
    if callers.any_configured() {
        return Ok(FirstToken::NotNeeded);
    }
    match try_to_make(callers, data_dir).await {
        Err(FirstTokenError::Catalog(error)) if error.kind == CatalogErrorKind::Unavailable => Ok(FirstToken::NotKnown),
        other => other,
    }
}

async fn try_to_make(callers: &Callers, data_dir: &Path) -> Result<FirstToken, FirstTokenError> {
    if callers.catalog_knows_any().await? {
        return Ok(FirstToken::NotNeeded);
    }
    let token = Token::random().map_err(FirstTokenError::Random)?;
    let file = data_dir.join(FIRST_TOKEN_FILE);
    write(data_dir, &file, &token).map_err(|error| FirstTokenError::File(file.clone(), error))?;
    let new = NewToken {
        name: TokenName::of_first_start(),
        hash: token.hash(),
        grants: Grants::administrator(),
        created_at: now(),
        expires_at: None,
    };
    match callers.tokens.create(&new).await? {
        Created::Made(_) => Ok(FirstToken::Made(file)),
        Created::NameTaken => {
            // Another replica was first. Its token is taken here, too; a file that cannot be removed misleads, and no more.
            if let Err(error) = std::fs::remove_file(&file) {
                tracing::warn!(%error, file = %file.display(), "this file holds no token that is accepted; remove it");
            }
            Ok(FirstToken::NotNeeded)
        }
    }
}

/// In place of whatever is there, whole and for nobody else to read.
fn write(folder: &Path, file: &Path, token: &Token) -> io::Result<()> {
    let new = folder.join(format!("{FIRST_TOKEN_FILE}.new"));
    // One that was left behind may have other permissions.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(written, "{}", token.expose())?;
    written.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(folder)?.sync_all()
}

impl Callers {
    /// Makes the administrator's token if there is none: now, or as soon as the catalog can say. The log says where it is.
    pub async fn first_token(self: &Arc<Self>, data_dir: &Path, background: &mut JoinSet<()>) {
        if self.try_and_tell(data_dir).await {
            return;
        }
        let (callers, data_dir) = (Arc::clone(self), data_dir.to_owned());
        background.spawn(async move {
            while !callers.try_and_tell(&data_dir).await {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
    }

    /// Whether that is settled.
    async fn try_and_tell(&self, data_dir: &Path) -> bool {
        match make_first_token(self, data_dir).await {
            Ok(FirstToken::NotNeeded) => {}
            Ok(FirstToken::Made(file)) => {
                let file = file.display();
                tracing::warn!(%file, "there was no token: one for the administrator was made, and this file has it");
            }
            Ok(FirstToken::NotKnown) => return false,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "there is no token, and none could be made: nobody can change anything");
            }
        }
        true
    }
}
