//! Reading what people uploaded.
//!
//! There is nobody to ask: what the catalog says is what there is. Generations are as with upstreams, and so is who was given
//! which; only that a package of an earlier one which is not kept any more cannot be had from anywhere.

use std::time::{Duration, SystemTime};

use artifactapi_formats::{Mutability, Role, Sha256};

use super::super::generations::When;
use super::super::held::{Held, now};
use super::super::past::{self, Then};
use super::super::shelf::{Found, ShelfError};
use super::{HeldBody, PublishError, ReadError, Reader, Reading, SWITCHES_MEANWHILE, Source, Wish, hit};
use crate::config::Kind;
use crate::store::catalog::Artifact;

/// What is answered with the digest of the file before it.
const DIGEST_SUFFIX: &str = ".sha256";

impl Reader {
    pub(super) async fn read_local(&self, wish: &Wish) -> Result<Reading, ReadError> {
        // Before anything that was ever uploaded under its name.
        if let Some(reading) = public_key(wish) {
            return Ok(reading);
        }
        for _ in 0..SWITCHES_MEANWHILE {
            let when = match &wish.when {
                // A list is the same in every snapshot that has it.
                _ if is_list(wish) => None,
                Some(when) => Some(when.clone()),
                None => self.pinned(wish).await?.map(When::Number),
            };
            if let Some(when) = when
                && let Some(earlier) = self.read_local_past(wish, &when).await?
            {
                let given = self.given(wish, &earlier);
                self.hand_out_earlier(wish, given).await;
                return Ok(noted(wish, earlier));
            }
            let reading = match self.read_local_current(wish).await {
                // Whoever was given the index that still named it finds it, even if word of its removal has not come yet.
                Err(ReadError::Absent(why)) if wish.role == Role::Package && wish.when.is_none() => {
                    let noticing = self.switches.notice_removal(&wish.repository, &wish.target).await;
                    noticing.map_err(ShelfError::from)?;
                    match self.pinned(wish).await? {
                        Some(_) => continue,
                        None => return Err(ReadError::Absent(why)),
                    }
                }
                reading => noted(wish, reading?),
            };
            if wish.when.is_some() || is_list(wish) || self.pinned(wish).await?.is_none() {
                let given = self.given(wish, &reading);
                self.hand_out(wish, given).await;
                return Ok(reading);
            }
        }
        Err(ReadError::Unreadable("its index changes faster than it can be read; try again".to_owned()))
    }

    async fn read_local_past(&self, wish: &Wish, when: &When) -> Result<Option<Reading>, ReadError> {
        match self.past.then(wish, when).await? {
            Then::Held(held) => Ok(Some(past::reading(held))),
            Then::Named(named) => Err(ReadError::Absent(format!(
                "snapshot {} names it with {}, which is not kept any more",
                named.first.0, named.package.identity
            ))),
            Then::Timeless => Ok(None),
        }
    }

    async fn read_local_current(&self, wish: &Wish) -> Result<Reading, ReadError> {
        let mutability = wish.repository.format.mutability(&wish.target.path);
        // What was acknowledged on another replica is shown by this one from then on, not from when word of it came.
        if let (Role::Index, Some(held)) = (wish.role, self.shelf.peek(&wish.target)) {
            held.record_is_doubtful();
        }
        let found = self.switches.find(&wish.repository, &wish.target, wish.role, &mutability).await?;
        let found = match found {
            Found::Nothing | Found::Bodiless(_) if is_list(wish) => {
                let list =
                    self.publisher.file_of_a_snapshot(&wish.repository, &wish.target, wish.role, &mutability).await;
                match list {
                    Ok(list) => list.unwrap_or(Found::Nothing),
                    Err(PublishError::Away(why)) => return Err(ReadError::Unreadable(why.to_string())),
                    Err(error @ PublishError::Superseded(_)) => return Err(ReadError::Later(error.to_string())),
                    Err(error) => {
                        tracing::error!(path = %wish.target, %error, "a list of our own index cannot be written again");
                        return Err(ReadError::Unreadable("the stored file is missing or damaged".to_owned()));
                    }
                }
            }
            found => found,
        };
        match found {
            Found::Held(held) => Ok(hit(held, None)),
            Found::Bodiless(artifact) => {
                tracing::error!(path = %artifact.target, blob = %artifact.blob, "the record's blob is missing or damaged");
                Err(ReadError::Unreadable("the stored file is missing or damaged".to_owned()))
            }
            Found::Nothing => self
                .digest_of_another(wish)
                .await?
                .ok_or_else(|| ReadError::Absent("no such file in this repository".to_owned())),
        }
    }

    /// `FILE.sha256`, for a file that there is: a line as `sha256sum` writes and reads it.
    async fn digest_of_another(&self, wish: &Wish) -> Result<Option<Reading>, ReadError> {
        let Some(path) = wish.target.path.as_str().strip_suffix(DIGEST_SUFFIX) else { return Ok(None) };
        let Ok(path) = artifactapi_formats::RepoPath::new(path) else { return Ok(None) };
        if wish.repository.public_key(path.as_str()).is_some() {
            return Ok(None);
        }
        let of = crate::store::key::Target::new(wish.target.repository.clone(), path);
        let Some(mut record) = self.shelf.record(&of).await? else { return Ok(None) };
        let line = format!("{}  {}\n", record.sha256.hex(), of.path.file_name());
        record.content_type = "text/plain; charset=utf-8".to_owned();
        Ok(Some(made(wish, record, line)))
    }
}

/// With what the repository says of overwriting: whoever keeps copies in front of us goes by it.
fn noted(wish: &Wish, reading: Reading) -> Reading {
    if let (Reading::Held { held, .. }, Kind::Local(local)) = (&reading, &wish.repository.kind) {
        held.let_be_overwritten(local.overwrite);
    }
    reading
}

/// Whether it is a list of an index, named by its digest.
fn is_list(wish: &Wish) -> bool {
    let mutability = wish.repository.format.mutability(&wish.target.path);
    wish.role == Role::IndexMember && matches!(mutability, Mutability::Addressed(_))
}

/// The public half of a key that signs this repository's indexes, at the top of the repository under the name that clients know
/// it by.
pub(super) fn public_key(wish: &Wish) -> Option<Reading> {
    let text = wish.repository.public_key(wish.target.path.as_str())?;
    let (nothing, at) = (Sha256::of(b""), SystemTime::UNIX_EPOCH);
    let record = Artifact::unpublished(wish.target.clone(), 0, nothing, "application/x-pem-file", at);
    Some(made(wish, Artifact { checked_at: now(), ..record }, text.to_owned()))
}

/// A text that is no file, as the answer to this request only: what it is made of may change, and nobody would be told.
fn made(wish: &Wish, mut record: Artifact, text: String) -> Reading {
    (record.size, record.sha256) = (text.len() as u64, Sha256::of(text.as_bytes()));
    record.target = wish.target.clone();
    let mutability = wish.repository.format.mutability(&wish.target.path);
    let held = Held::new(record, wish.role, mutability, HeldBody::Memory(text.into()));
    held.supersede();
    Reading::Held { held: held.into(), source: Source::Hit, fresh_for: Some(Duration::ZERO) }
}
