//! What a read is asked, and what it answers with.

use std::sync::Arc;
use std::time::Duration;

use artifactapi_formats::Role;

use super::super::fill::{Fill, FillError, Head, Outcome, Via};
use super::super::generations::When;
use super::super::held::Held;
use super::super::pins::ClientId;
use super::super::shelf::ShelfError;
use crate::config::Repository;
use crate::spool::{SpoolError, SpoolReader};
use crate::store::key::Target;
use crate::upstream::Answer;

/// The longest body of unknown length that is waited for in memory, in bytes: longer than the listings of most folders.
const MOST_MEASURED: usize = 4 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The repository.
    pub repository: Arc<Repository>,
    /// The path (and query) below it.
    pub target: Target,
    /// What the path is.
    pub role: Role,
    /// Whether only the head is wanted.
    pub head_only: bool,
    /// The client said `no-cache`.
    pub no_cache: bool,
    /// Which generation, if not the current one.
    pub when: Option<When>,
    /// Who asks, as far as that can be told.
    pub client: Option<ClientId>,
    /// The one range asked for, as (first, last).
    pub range: Option<(u64, Option<u64>)>,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Reading {
    /// Something we hold.
    Held {
        /// The content.
        held: Arc<Held>,
        /// How it came about.
        source: Source,
        /// How much longer it is fresh; `None` is for ever. A [hit](Source::Hit) that is fresh for no time is right as long as
        /// its index is.
        fresh_for: Option<Duration>,
    },
    /// A body on its way from upstream.
    Growing {
        /// What upstream said.
        head: Arc<Head>,
        /// The body.
        body: SpoolReader,
        /// The fill that brings it, which tells how it ended.
        fill: Fill,
        /// Whether it replaces something that was stale.
        was_stale: bool,
    },
    /// Upstream's answer, passed through: 200, or 206 if a range was asked for.
    Through {
        /// The answer.
        answer: Box<Answer>,
        /// Its head.
        head: Head,
    },
    /// Only a head, from upstream.
    Head(Head),
}

impl Reading {
    /// The same for a client that cannot be told that a body of unknown length broke off: what is on its way is waited for.
    ///
    /// # Errors
    /// [`ReadError`] when it does not come whole.
    pub async fn of_known_length(self) -> Result<Self, ReadError> {
        match self {
            Self::Growing { head, mut fill, .. } if head.size.is_none() => match fill.settled().await {
                Outcome::Held(held, via) => {
                    Ok(Self::Held { held, source: Source::from(via), fresh_for: Some(Duration::ZERO) })
                }
                Outcome::Absent(error) => Err(ReadError::Absent(error.to_string())),
                Outcome::Failed(error) => Err(error.into()),
                Outcome::NoRoom(_) => Err(FillError::Spool(SpoolError::Full).into()),
            },
            Self::Through { answer, mut head } if answer.length.is_none() => {
                let answer = answer.measured(MOST_MEASURED).await.map_err(FillError::Upstream)?;
                head.size = answer.length;
                Ok(Self::Through { answer: Box::new(answer), head })
            }
            other => Ok(other),
        }
    }
}

/// Where the content of a [`Reading::Held`] came from for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Held and fresh.
    Hit,
    /// Stale, and upstream just confirmed it.
    Confirmed,
    /// Stale, and served because upstream could not be asked, or not in time.
    Stale,
    /// Just fetched.
    Fetched,
    /// Just fetched, and not kept.
    Unkept,
}

impl From<Via> for Source {
    fn from(via: Via) -> Self {
        match via {
            Via::Fetched => Self::Fetched,
            Via::Unkept => Self::Unkept,
            Via::Confirmed => Self::Confirmed,
            Via::Elsewhere => Self::Hit,
        }
    }
}

/// Why there is nothing to answer with.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing is held, and upstream says (or said lately) that there is nothing; or the repository is local.
    #[error("not found: {0}")]
    Absent(String),
    /// Nothing is held and it could not be fetched.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// A part of this server is away, and so is every way around it.
    #[error(transparent)]
    Store(#[from] ShelfError),
    /// It cannot be had this time.
    #[error("{0}")]
    Later(String),
    /// The repository cannot be read from.
    #[error("{0}")]
    Unreadable(String),
}
