//! One upstream transfer that many readers follow.
//!
//! A fill runs as a task of its own: no client owns it, so none can abort or slow it (DESIGN 4.5). Its [`State`] goes
//! from waiting, through streaming (readers follow the spool as it grows), to settled. A fill that replaces an index
//! or another metadata file never streams: readers get what is held until the new one is whole and checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use artifactapi_formats::{Expected, Mutability, Role};
use parking_lot::Mutex;
use tokio::sync::watch;
use url::Url;

use super::fills::appearance::{Appearance, appearance};
use super::held::Held;
use crate::config::Repository;
use crate::spool::{SpoolError, SpoolReader};
use crate::store::key::Target;
use crate::upstream::{Answer, Sources, UpstreamError};

/// What a fill is for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The repository, which must be a remote.
    pub repository: Arc<Repository>,
    /// What to fetch.
    pub target: Target,
    /// What the path is.
    pub role: Role,
    /// Whether its content may change.
    pub mutability: Mutability,
    /// What the held index says it must be.
    pub expected: Option<Expected>,
    /// Content that upstream confirmed after this is what is wanted, whoever asked.
    pub confirmed_after: SystemTime,
}

/// What upstream said before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Length in bytes, if it was declared.
    pub size: Option<u64>,
    /// Media type to answer with.
    pub content_type: String,
    /// `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
    /// Whether whoever is given it may keep it: it does not look like a page in place of the file.
    pub is_worth_keeping: bool,
    /// Where more of the same content can be had, if that can be told.
    pub origin: Option<Origin>,
}

/// Where a content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The source.
    pub source: Url,
    /// What tells there that it is still the same (`If-Range`).
    pub validator: String,
}

impl Head {
    /// The head of an answer. A name that says what it is wins over what upstream says of it.
    #[must_use]
    pub fn of(answer: &Answer, order: &Order) -> Self {
        let by_name = order.repository.format.content_type(&order.target.path);
        let content_type = match &answer.content_type {
            Some(said) if by_name == "application/octet-stream" => said.clone(),
            _ => by_name.to_owned(),
        };
        Self {
            size: answer.length,
            content_type,
            last_modified: answer.last_modified.clone(),
            is_worth_keeping: matches!(appearance(order, answer), Appearance::Fit),
            origin: None,
        }
    }

    /// The head of an answer by one of these sources, of which more may be asked.
    #[must_use]
    pub fn with_origin(answer: &Answer, order: &Order, sources: &Sources) -> Self {
        let origin = sources.url(answer.source).zip(answer.resume_validator());
        let origin =
            origin.map(|(source, validator)| Origin { source: source.clone(), validator: validator.to_owned() });
        Self { origin, ..Self::of(answer, order) }
    }
}

/// How a settled fill ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// There is content.
    Held(Arc<Held>, Via),
    /// Upstream says that there is none.
    Absent(UpstreamError),
    /// There is no room for the spool: pass through.
    NoRoom(Unread),
    /// It could not be had.
    Failed(FillError),
}

/// An answer of upstream whose body nobody has read, if there is one: whoever takes it first need not ask again.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Mutex<Option<Box<Answer>>>>);

impl Unread {
    pub(super) fn of(answer: Answer) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(answer)))))
    }

    /// The answer, for the first who asks.
    #[must_use]
    pub fn take(&self) -> Option<Box<Answer>> {
        self.0.lock().take()
    }
}

/// How the content of [`Outcome::Held`] came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Fetched, checked and kept.
    Fetched,
    /// Fetched and checked, but not kept: the store or the catalog is away, or the content is not worth keeping.
    Unkept,
    /// Upstream said that what we hold is current.
    Confirmed,
    /// Another replica did the work.
    Elsewhere,
}

/// Why a fill failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FillError {
    /// Upstream did not give it, or gave something else.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// It came, and could not be made current.
    #[error("what came could not be published: {0}")]
    NotPublished(Arc<str>),
    /// The task ended without an outcome.
    #[error("the transfer ended without an outcome: the server is stopping, or its log says what broke")]
    GivenUp,
}

/// Where a fill is.
#[derive(Debug, Clone)]
pub enum State {
    /// Nothing to see yet.
    Waiting,
    /// The body is growing.
    Streaming(Arc<Head>, SpoolReader),
    /// Over.
    Settled(Outcome),
}

/// A handle on a running fill. Dropping it does not stop the fill.
#[derive(Debug, Clone)]
pub struct Fill {
    state: watch::Receiver<State>,
    has_streamed: Arc<AtomicBool>,
}

/// The task's end of a [`Fill`].
#[derive(Debug)]
pub(super) struct FillSender {
    state: watch::Sender<State>,
    has_streamed: Arc<AtomicBool>,
}

impl Fill {
    pub(super) fn new() -> (FillSender, Self) {
        let (state, watched) = watch::channel(State::Waiting);
        let has_streamed = Arc::new(AtomicBool::new(false));
        (FillSender { state, has_streamed: Arc::clone(&has_streamed) }, Self { state: watched, has_streamed })
    }

    /// Waits until there is something to serve: a growing body, or the outcome.
    pub async fn ready(&mut self) -> State {
        let state = match self.state.wait_for(|state| !matches!(state, State::Waiting)).await {
            Ok(state) => state.clone(),
            Err(_) => return State::Settled(Outcome::Failed(FillError::GivenUp)),
        };
        match state {
            // It broke a moment ago: who comes now is told why instead of being given a body that breaks.
            State::Streaming(_, reader) if reader.has_failed() => State::Settled(self.settled().await),
            state => state,
        }
    }

    /// Waits for the outcome.
    pub async fn settled(&mut self) -> Outcome {
        match self.state.wait_for(|state| matches!(state, State::Settled(_))).await {
            Ok(state) => match &*state {
                State::Settled(outcome) => outcome.clone(),
                State::Waiting | State::Streaming(..) => Outcome::Failed(FillError::GivenUp),
            },
            Err(_) => Outcome::Failed(FillError::GivenUp),
        }
    }

    /// As [`Fill::settled`], but gives up waiting (not the fill) after `patience`.
    pub async fn settled_within(&mut self, patience: Duration) -> Option<Outcome> {
        tokio::time::timeout(patience, self.settled()).await.ok()
    }

    /// Whether readers were given its beginning. If it then failed, the sources after the one that broke off were not asked:
    /// none of them could go on with what the readers had.
    #[must_use]
    pub fn has_streamed(&self) -> bool {
        self.has_streamed.load(Ordering::Acquire)
    }

    /// The growing body, if there is one now.
    #[must_use]
    pub fn streaming(&self) -> Option<(Arc<Head>, SpoolReader)> {
        match &*self.state.borrow() {
            State::Streaming(head, reader) => Some((Arc::clone(head), reader.clone())),
            State::Waiting | State::Settled(_) => None,
        }
    }
}

impl FillSender {
    pub(super) fn stream(&self, head: Arc<Head>, reader: SpoolReader) {
        self.has_streamed.store(true, Ordering::Release);
        self.state.send_replace(State::Streaming(head, reader));
    }

    pub(super) fn settle(&self, outcome: Outcome) {
        self.state.send_replace(State::Settled(outcome));
    }

    pub(super) fn is_streaming(&self) -> bool {
        matches!(&*self.state.borrow(), State::Streaming(..))
    }
}
