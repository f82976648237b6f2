//! Reading the index of a virtual repository: merged of its members' indexes, and as fresh as they are.
//!
//! The members that have an upstream are asked for their indexes at most every `index_ttl` of the virtual repository, each as a
//! client would ask it, so its own rules say whether its upstream is. Whether a member has published another index than the merged
//! one is made of is looked up on every request, and so for each member that is virtual itself: what was uploaded to a local repository,
//! however deep, is in the next answer. Only then is it merged anew ([`Publisher::merge`](super::Publisher)).
//!
//! Whatever is away, the last merged index goes on being served, marked stale. The first one is written only when no member is away: an
//! index without half of the packages would not say so.

use std::time::{Duration, Instant};

use artifactapi_formats::Role;

use super::super::freshness::NO_CACHE_AGE;
use super::super::held::RETRY_AFTER;
use super::super::publish::Standing;
use super::super::shelf::ShelfError;
use super::members::of_member;
use super::remembered::Asked;
use super::{ReadError, Reader, Reading, Source, Wish};
use crate::config::{Kind, Virtual};
use crate::store::key::Target;

/// How often members may publish while their index is merged for one request.
const MERGES: usize = 4;

/// How long the first snapshot of a member is waited for: its entry is there at once, the rest follows in the background, here or on
/// another replica.
const COMPLETION: Duration = Duration::from_secs(60);

impl Reader {
    pub(super) async fn read_merged(&self, wish: &Wish, all: &Virtual, root: &Target) -> Result<Reading, ReadError> {
        if wish.when.is_some() {
            return self.read_local(wish).await;
        }
        let is_stale = match wish.role {
            Role::Index => self.bring_up_to_date(wish, all, root).await?,
            // Whoever asks for what lies beside an entry was given one.
            _ => false,
        };
        let reading = self.read_local(wish).await?;
        Ok(match reading {
            Reading::Held { held, .. } if is_stale => {
                Reading::Held { held, source: Source::Stale, fresh_for: Some(Duration::ZERO) }
            }
            other => other,
        })
    }

    /// Has the merged index be what the members' indexes say. Answers whether it is older than it should be, or may be.
    async fn bring_up_to_date(&self, wish: &Wish, all: &Virtual, root: &Target) -> Result<bool, ReadError> {
        let asked = self.asked.get(root).filter(|asked| !is_due(wish, asked));
        let was_due = asked.is_none();
        let (mut is_away, trouble) = match asked {
            Some(asked) => {
                let (is_away, trouble) = self.nested_up_to_date(wish, all).await;
                (asked.was_away || is_away, trouble)
            }
            None => self.members_in_time(wish, all, root).await,
        };
        for _ in 0..MERGES {
            let standing = match self.publisher.standing(&wish.repository, all, root).await {
                Ok(standing) => standing,
                Err(error) => {
                    tracing::warn!(%root, %error, "nobody knows whether the merged index is the latest");
                    return Ok(true);
                }
            };
            // Whoever finds no index at all asks again, for the member may be back; everybody else is served what there is for a while.
            if was_due && matches!((standing, &trouble), (Standing::Current | Standing::Behind { .. }, Some(_))) {
                self.asked.insert(root.clone(), Asked::now(&wish.repository, true));
            }
            let has_one = match standing {
                Standing::Current => return Ok(is_away),
                Standing::Nothing => {
                    let none = || ReadError::Absent("no member has this index".to_owned());
                    return Err(trouble.unwrap_or_else(none));
                }
                Standing::Unwritten => false,
                Standing::Behind { .. } => true,
            };
            if let (false, Some(trouble)) = (has_one, trouble.as_ref()) {
                let why = format!("there is no merged index yet, and a member is away: {trouble}");
                return Err(ReadError::Unreadable(why));
            }
            let merging = self.publisher.merge(&wish.repository, root);
            let merged = match standing {
                // What somebody was told to be installable is waited for; what an upstream has may come a little later.
                Standing::Behind { is_acknowledged: false } => {
                    match tokio::time::timeout(wish.repository.cache.refresh_wait, merging).await {
                        Ok(merged) => merged,
                        Err(_) => return Ok(true),
                    }
                }
                _ => merging.await,
            };
            match merged {
                Ok(()) => {}
                Err(_) if has_one => return Ok(true),
                Err(error) => return Err(ReadError::Unreadable(format!("the index could not be merged: {error}"))),
            }
            is_away |= trouble.is_some();
        }
        Ok(true)
    }

    /// Asks the members, and notes that they were asked. Where there is a merged index, it is not kept from anybody for longer than a
    /// stale one is: a member whose first snapshot takes its time is away until it is there.
    async fn members_in_time(&self, wish: &Wish, all: &Virtual, root: &Target) -> (bool, Option<ReadError>) {
        let standing = self.publisher.standing(&wish.repository, all, root).await;
        let (is_away, trouble) = match standing {
            Ok(Standing::Current | Standing::Behind { .. }) => {
                // Noted before it is known: who comes meanwhile is served what there is.
                self.asked.insert(root.clone(), Asked::now(&wish.repository, true));
                let asking = self.ask_members(wish, all);
                let patience = wish.repository.cache.refresh_wait;
                match tokio::time::timeout(patience, asking).await {
                    Ok(answer) => answer,
                    // What was uploaded within a member is acknowledged, whatever upstream is waited for beside it.
                    Err(_) => (true, self.nested_up_to_date(wish, all).await.1),
                }
            }
            _ => self.ask_members(wish, all).await,
        };
        if trouble.is_none() {
            self.asked.insert(root.clone(), Asked::now(&wish.repository, is_away));
        }
        (is_away, trouble)
    }

    /// Asks the members for their indexes, all at once. Answers whether one of them could not say, and what is wrong with one that
    /// has none to give.
    async fn ask_members(&self, wish: &Wish, all: &Virtual) -> (bool, Option<ReadError>) {
        let asking = all.members.iter().filter(|member| !matches!(member.kind, Kind::Local(_))).map(|member| async {
            let Some(wish) = of_member(wish, member) else { return Ok(false) };
            let wish = Wish { head_only: true, client: None, range: None, ..wish };
            let is_away = match Box::pin(self.read(&wish)).await {
                Ok(Reading::Held { source, .. }) => source == Source::Stale,
                Ok(_) => false,
                Err(ReadError::Absent(_)) => return Ok(false),
                Err(error) => return Err(error),
            };
            if matches!(member.kind, Kind::Remote(_)) {
                self.completed(&wish.target).await?;
            }
            Ok(is_away)
        });
        summed(futures_util::future::join_all(asking).await)
    }

    /// Has the merged indexes of members that are virtual themselves be what theirs say, by their own rules of whom to ask. Answers as
    /// [`Self::ask_members`] does.
    async fn nested_up_to_date(&self, wish: &Wish, all: &Virtual) -> (bool, Option<ReadError>) {
        let asking = all.members.iter().map(|member| async move {
            let Kind::Virtual(within) = &member.kind else { return Ok(false) };
            let Some(wish) = of_member(wish, member) else { return Ok(false) };
            let bringing = Box::pin(self.bring_up_to_date(&wish, within, &wish.target));
            let brought = match self.publisher.standing(member, within, &wish.target).await {
                Ok(Standing::Current | Standing::Behind { .. }) => bringing.await,
                // Its first one may wait for all that an upstream has.
                _ => match tokio::time::timeout(wish.repository.cache.refresh_wait, bringing).await {
                    Ok(brought) => brought,
                    Err(_) => Err(ReadError::Unreadable(format!("{} has no index yet", wish.target))),
                },
            };
            match brought {
                Err(ReadError::Absent(_)) => Ok(false),
                brought => brought,
            }
        });
        summed(futures_util::future::join_all(asking).await)
    }

    /// Waits until a member's index has a snapshot.
    async fn completed(&self, root: &Target) -> Result<(), ReadError> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(20));
        while self.generations.snapshots().current(root).await.map_err(ShelfError::from)?.is_none() {
            if began.elapsed() > COMPLETION {
                return Err(ReadError::Unreadable(format!("not all that the index {root} names has come yet")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Ok(())
    }
}

/// Whether one of the members is away, and what is wrong with one of them.
fn summed(answers: Vec<Result<bool, ReadError>>) -> (bool, Option<ReadError>) {
    let is_away = answers.iter().any(|answer| *answer.as_ref().unwrap_or(&true));
    (is_away, answers.into_iter().find_map(Result::err))
}

/// Whether members are to be asked again.
fn is_due(wish: &Wish, asked: &Asked) -> bool {
    // Under another configuration there may be others.
    asked.since(&wish.repository).is_none_or(|since| {
        since >= wish.repository.cache.index_ttl
            || wish.no_cache && since >= NO_CACHE_AGE
            || asked.was_away && since >= RETRY_AFTER
    })
}
