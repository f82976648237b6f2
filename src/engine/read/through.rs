//! Passing through what upstream answers, without a fill: heads, listings, ranges that lie far ahead of a fill, and bodies that there is no
//! room for.

use artifactapi_formats::{Mutability, Role};

use super::super::fill::{FillError, Head, Origin};
use super::{ReadError, Reader, Reading, Wish, order};
use crate::spool::SpoolReader;
use crate::upstream::{Answer, Ask, How, Sent, UpstreamErrorKind};

/// A range that begins further than this beyond what a fill has, in bytes, is passed through beside the fill.
pub const FAR_AHEAD: u64 = 8 << 20;

impl Reader {
    pub(super) async fn head(&self, wish: &Wish, mutability: Mutability) -> Result<Reading, ReadError> {
        let answer = whole(self.ask(wish, How::Head).await?)?;
        Ok(Reading::Head(Head::of(&answer, &order(wish, mutability, None))))
    }

    pub(super) async fn pass_through(&self, wish: &Wish, mutability: Mutability) -> Result<Reading, ReadError> {
        Ok(through(wish, mutability, Box::new(whole(self.ask(wish, How::Get).await?)?)))
    }

    /// A range of what a fill brings, from where the fill has it. `None` if it cannot be told that it is of the same content.
    pub(super) async fn pass_range_through(&self, wish: &Wish, mutability: Mutability, of: &Head) -> Option<Reading> {
        let ((first, last), size) = (wish.range?, of.size?);
        let Origin { source, validator } = of.origin.as_ref()?;
        let sources = self.fills.sources(&wish.repository, wish.role).await.ok()?;
        let how = How::Range { first, last, if_range: Some(validator) };
        let ask = Ask { remote: &sources, path: &wish.target.path, query: &wish.target.query, how };
        let answer = self.fills.upstream().ask_one(&ask, sources.number_of(source)?).await.ok()?;
        let end = last.map_or(size, |last| last.saturating_add(1).min(size));
        let is_of_the_same = answer.sent == Sent::Part { first, last: end.checked_sub(1)?, total: Some(size) };
        let head = Head::of(&answer, &order(wish, mutability, None));
        is_of_the_same.then(|| Reading::Through { head, answer: Box::new(answer) })
    }

    async fn ask(&self, wish: &Wish, how: How<'_>) -> Result<Answer, ReadError> {
        let sources = self.fills.sources(&wish.repository, wish.role).await?;
        let ask = Ask { remote: &sources, path: &wish.target.path, query: &wish.target.query, how };
        match self.fills.upstream().ask(&ask, None).await {
            Ok(answer) => Ok(answer),
            Err(error) if matches!(error.kind, UpstreamErrorKind::Absent(_)) => Err(self.absent(wish, &error)),
            Err(error) => Err(FillError::Upstream(error).into()),
        }
    }
}

/// An answer that is the whole, or its head, as it was asked for.
fn whole(answer: Answer) -> Result<Answer, ReadError> {
    let why = match answer.sent {
        Sent::Whole => return Ok(answer),
        Sent::Part { .. } => "a part although the whole was asked for",
        Sent::Unchanged => "304 to an unconditional request",
    };
    let error = answer.body.error(UpstreamErrorKind::Unfit(why.to_owned()));
    Err(FillError::Upstream(error).into())
}

/// Upstream's answer as it is.
pub(super) fn through(wish: &Wish, mutability: Mutability, answer: Box<Answer>) -> Reading {
    let mut head = Head::of(&answer, &order(wish, mutability, None));
    if let (Role::Listing, Some(said)) = (wish.role, &answer.content_type) {
        head.content_type.clone_from(said);
    }
    Reading::Through { head, answer }
}

/// Whether a client that asks for a range would wait long for a fill to get there.
pub(super) fn is_far_ahead(wish: &Wish, head: &Head, body: &SpoolReader) -> bool {
    wish.range.is_some_and(|(first, _)| {
        head.size.is_some_and(|size| first < size) && first > body.readable().saturating_add(FAR_AHEAD)
    })
}
