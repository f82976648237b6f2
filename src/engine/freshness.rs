//! What to do with what we hold: a pure rule, with the clock passed in.
//!
//! The rule is small on purpose. A record is *fresh* for as long as its [`Lifetime`] says since upstream last confirmed
//! it. Fresh is served; stale is revalidated (and served all the same if upstream has trouble); absent is fetched. A
//! client's `no-cache` never means more than "revalidate if older than [`NO_CACHE_AGE`]": dnf always says it, and a
//! thousand clients are one question to upstream (DESIGN 5).
//!
//! Confirmations carry the time of whichever clock noted them. A little ahead of ours is as good as now; one from further ahead
//! ([`CLOCKS_APART`]) says nothing about how old it is, so what lives by its age is asked about. What lives as long as its index is
//! not: it was confirmed by the same clock that dated the index.

use std::time::{Duration, SystemTime};

use artifactapi_formats::{Mutability, Role};

use crate::config::FileTtl;
use crate::store::catalog::CLOCKS_APART;

/// A confirmation younger than this satisfies a client's `Cache-Control: no-cache`.
pub const NO_CACHE_AGE: Duration = Duration::from_secs(5);

/// How long files of a package repository are taken as they are, for ever by its configuration, whose names say nothing of their
/// content: boot images keep their names when a release is made again, and a public key can be prolonged (FORMATS 4).
pub const NAMELESS_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long a record stays fresh after upstream confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// For ever: the name holds the digest, or the repository says so for files (`file_ttl: 0`).
    Forever,
    /// For this long; zero means "ask on every request".
    For(Duration),
    /// As long as the index it belongs to stays at the revision that was stored at this time: it is fresh if it was
    /// confirmed since.
    WithIndexSince(SystemTime),
}

/// How long packages and files of a path's kind live by a repository's configuration; zero is for ever. `has_indexes`: whether its
/// format has any, and so knows files from packages.
#[must_use]
pub fn file_ttl(configured: FileTtl, has_indexes: bool, role: Role, mutability: &Mutability) -> Duration {
    match (configured, role, mutability) {
        (FileTtl::For(ttl), ..) => ttl,
        (FileTtl::Forever, Role::File, Mutability::Mutable) if has_indexes => NAMELESS_TTL,
        (FileTtl::Forever, ..) => Duration::ZERO,
    }
}

/// What a path's role and mutability make of the repository's two times to live.
///
/// `index_stored_at` is when the current revision of the path's index was stored, for companions and members of an index
/// that is held.
#[must_use]
pub fn lifetime(
    role: Role,
    mutability: &Mutability,
    index_stored_at: Option<SystemTime>,
    index_ttl: Duration,
    file_ttl: Duration,
) -> Lifetime {
    match (role, mutability) {
        (_, Mutability::Addressed(_)) => Lifetime::Forever,
        (Role::IndexCompanion | Role::IndexMember, _) => {
            index_stored_at.map_or(Lifetime::For(index_ttl), Lifetime::WithIndexSince)
        }
        (Role::Index, _) => Lifetime::For(index_ttl),
        (Role::Listing, _) => Lifetime::For(Duration::ZERO),
        (Role::Package | Role::File, _) if file_ttl.is_zero() => Lifetime::Forever,
        (Role::Package | Role::File, _) => Lifetime::For(file_ttl),
    }
}

/// The Last-Modified that clients are given for content stored at `stored_at`.
///
/// apk compares its own clock with this date (FORMATS 1.6), so metadata is as new as our serving of it. For the rest it is
/// upstream's date, unless that lies in the future.
#[must_use]
pub fn last_modified(role: Role, upstream: Option<&str>, stored_at: SystemTime) -> SystemTime {
    match role {
        Role::Index | Role::IndexCompanion | Role::IndexMember | Role::Listing => stored_at,
        Role::Package | Role::File => {
            let date = upstream.and_then(|date| httpdate::parse_http_date(date).ok());
            date.filter(|date| *date <= stored_at).unwrap_or(stored_at)
        }
    }
}

/// What to do about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Serve what we hold. It stays fresh for `fresh_for`; `None` is for ever.
    Serve {
        /// How much longer it is fresh.
        fresh_for: Option<Duration>,
    },
    /// Ask upstream whether what we hold is still current.
    Revalidate,
    /// Nothing is held: fetch.
    Fetch,
}

/// Decides, given when upstream last confirmed what we hold.
#[must_use]
pub fn decide(confirmed_at: Option<SystemTime>, lifetime: Lifetime, no_cache: bool, now: SystemTime) -> Decision {
    let Some(confirmed_at) = confirmed_at else {
        return Decision::Fetch;
    };
    // A confirmation from the near future is another replica's clock: it counts as from now.
    let age = now.duration_since(confirmed_at).unwrap_or(Duration::ZERO);
    match lifetime {
        Lifetime::Forever => Decision::Serve { fresh_for: None },
        Lifetime::For(_) if is_ahead(confirmed_at, now) => Decision::Revalidate,
        _ if no_cache && age >= NO_CACHE_AGE => Decision::Revalidate,
        Lifetime::For(ttl) if age < ttl => Decision::Serve { fresh_for: Some(ttl - age) },
        Lifetime::For(_) => Decision::Revalidate,
        Lifetime::WithIndexSince(since) if confirmed_at >= since => Decision::Serve { fresh_for: Some(Duration::ZERO) },
        Lifetime::WithIndexSince(_) => Decision::Revalidate,
    }
}

/// Whether a time lies so far ahead of `now` that the clock it was taken from was wrong.
#[must_use]
pub fn is_ahead(time: SystemTime, now: SystemTime) -> bool {
    time.duration_since(now).is_ok_and(|ahead| ahead > CLOCKS_APART)
}

/// The time that a confirmation must be later than to be served at `now`: the other side of [`decide`], for confirmations
/// that others made meanwhile.
#[must_use]
pub fn confirmed_after(lifetime: Lifetime, no_cache: bool, now: SystemTime) -> SystemTime {
    const TICK: Duration = Duration::from_millis(1);
    let before = |age: Duration| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    match lifetime {
        Lifetime::Forever => SystemTime::UNIX_EPOCH,
        Lifetime::For(ttl) if no_cache => before(ttl.min(NO_CACHE_AGE)),
        Lifetime::For(ttl) => before(ttl),
        Lifetime::WithIndexSince(since) if no_cache => since.max(before(NO_CACHE_AGE)),
        Lifetime::WithIndexSince(since) => since.checked_sub(TICK).unwrap_or(SystemTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::Sha256;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_may_be_replaced_under_its_name_is_asked_about() {
        use Mutability::{ByConvention, Mutable};
        let forever = |has_indexes, role, mutability| file_ttl(FileTtl::Forever, has_indexes, role, &mutability);
        assert_eq!(forever(true, Role::File, Mutable), NAMELESS_TTL, "RPM-GPG-KEY, images/install.img");
        assert_eq!(forever(true, Role::File, ByConvention), Duration::ZERO, "a versioned image");
        assert_eq!(forever(true, Role::Package, Mutable), Duration::ZERO, "its index says what it is");
        assert_eq!(forever(false, Role::File, Mutable), Duration::ZERO, "whoever says for ever of files means it");
        assert_eq!(file_ttl(FileTtl::For(HOUR), true, Role::File, &Mutable), HOUR);
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn lifetimes_by_role() {
        let of = |role, mutability: &Mutability| lifetime(role, mutability, None, HOUR, Duration::ZERO);
        assert_eq!(of(Role::Index, &Mutability::Mutable), Lifetime::For(HOUR));
        assert_eq!(of(Role::Package, &Mutability::ByConvention), Lifetime::Forever);
        assert_eq!(of(Role::IndexMember, &Mutability::Addressed(Sha256::of(b"").into())), Lifetime::Forever);
        assert_eq!(of(Role::IndexMember, &Mutability::Mutable), Lifetime::For(HOUR));
        let with = lifetime(Role::IndexCompanion, &Mutability::Mutable, Some(at(7)), HOUR, HOUR);
        assert_eq!(with, Lifetime::WithIndexSince(at(7)));
        assert_eq!(lifetime(Role::File, &Mutability::Mutable, None, HOUR, HOUR * 2), Lifetime::For(HOUR * 2));
    }

    #[test]
    fn dates_for_clients() {
        let stored = at(1_000_000_000);
        let of = |role, date: &str| last_modified(role, Some(date), stored);
        let past = "Sat, 01 Jan 2000 00:00:00 GMT";
        assert_eq!(of(Role::Package, past), at(946_684_800));
        assert_eq!(of(Role::File, "Fri, 01 Jan 2100 00:00:00 GMT"), stored);
        assert_eq!(of(Role::File, "yesterday"), stored);
        assert_eq!(of(Role::Index, past), stored);
        assert_eq!(last_modified(Role::File, None, stored), stored);
    }

    #[test]
    fn decisions() {
        use Decision::*;
        let ttl = Lifetime::For(HOUR);
        let table = [
            (None, Lifetime::Forever, false, 100, Fetch),
            (Some(0), Lifetime::Forever, true, 1 << 40, Serve { fresh_for: None }),
            (Some(0), ttl, false, 3599, Serve { fresh_for: Some(Duration::from_secs(1)) }),
            (Some(0), ttl, false, 3600, Revalidate),
            (Some(0), ttl, true, 4, Serve { fresh_for: Some(HOUR - Duration::from_secs(4)) }),
            (Some(0), ttl, true, 5, Revalidate),
            (Some(50), ttl, false, 40, Serve { fresh_for: Some(HOUR) }),
            (Some(50), ttl, true, 40, Serve { fresh_for: Some(HOUR) }),
            (Some(1_000 + CLOCKS_APART.as_secs()), ttl, false, 1_000, Serve { fresh_for: Some(HOUR) }),
            (Some(1_001 + CLOCKS_APART.as_secs()), ttl, false, 1_000, Revalidate),
            (Some(1_001 + CLOCKS_APART.as_secs()), ttl, true, 1_000, Revalidate),
            (Some(1 << 30), Lifetime::Forever, true, 1_000, Serve { fresh_for: None }),
            (
                Some(1 << 30),
                Lifetime::WithIndexSince(at(1 << 30)),
                true,
                1_000,
                Serve { fresh_for: Some(Duration::ZERO) },
            ),
            (Some(10), Lifetime::For(Duration::ZERO), false, 10, Revalidate),
            (Some(10), Lifetime::WithIndexSince(at(10)), false, 1 << 30, Serve { fresh_for: Some(Duration::ZERO) }),
            (Some(9), Lifetime::WithIndexSince(at(10)), false, 11, Revalidate),
            (Some(100), ttl, false, 3699, Serve { fresh_for: Some(Duration::from_secs(1)) }),
            (Some(100), ttl, false, 3700, Revalidate),
            (Some(100), ttl, true, 104, Serve { fresh_for: Some(HOUR - Duration::from_secs(4)) }),
            (Some(100), ttl, true, 105, Revalidate),
            (Some(100), Lifetime::WithIndexSince(at(10)), true, 105, Revalidate),
        ];
        for (confirmed, lifetime, no_cache, now, expected) in table {
            let got = decide(confirmed.map(at), lifetime, no_cache, at(now));
            assert_eq!(got, expected, "{confirmed:?} {lifetime:?} {no_cache} {now}");
            if let Some(confirmed) = confirmed.filter(|confirmed| *confirmed > 0 && *confirmed <= now) {
                let is_served = matches!(got, Serve { .. });
                let is_after = at(confirmed) > confirmed_after(lifetime, no_cache, at(now));
                assert_eq!(is_after, is_served, "{confirmed} {lifetime:?} {no_cache} {now}");
            }
        }
    }
}
