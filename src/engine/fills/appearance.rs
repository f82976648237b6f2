//! What the head of an upstream answer lets one think of its body.
//!
//! An error page with status 200 is the commonest way to ruin a cache. For an index, a member or a package the format's
//! checker would find it out at the end; this finds it out at the beginning. For a generic file nothing can be known for
//! sure, so a page in place of a file is passed on and not kept.

use artifactapi_formats::Role;

use super::super::fill::Order;
use crate::upstream::Answer;

/// What the head of an answer lets one think of its body.
pub(in super::super) enum Appearance {
    /// It may well be the file.
    Fit,
    /// To be passed on, but not to be kept.
    Doubtful,
    /// It cannot be the file, for this reason.
    Unfit(String),
}

/// Media types that are another document *about* the file, or a page for people (FORMATS 3.6).
const NEVER_THE_FILE: &[&str] =
    &["text/html", "application/metalink+xml", "application/metalink4+xml", "application/x-zsync"];

/// Looks at the head of `answer`.
pub(in super::super) fn appearance(order: &Order, answer: &Answer) -> Appearance {
    if answer.became_listing(&order.target.path) || order.role == Role::Listing {
        return Appearance::Doubtful;
    }
    let said = answer.content_type.as_deref().unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let by_name = order.repository.format.content_type(&order.target.path);
    if !NEVER_THE_FILE.contains(&media_type.as_str()) || by_name.starts_with(&media_type) {
        return Appearance::Fit;
    }
    match order.role {
        Role::IndexCompanion | Role::IndexMember | Role::Package => {
            Appearance::Unfit(format!("a {media_type} document in place of the {}", order.role))
        }
        // A metalink is an index itself; what it says decides, not what it is called.
        Role::Index if media_type == "text/html" => {
            Appearance::Unfit(format!("a {media_type} document in place of the {}", order.role))
        }
        Role::Index => Appearance::Fit,
        Role::File if by_name == "application/octet-stream" && order.target.path.file_name().rfind('.').is_none() => {
            Appearance::Fit
        }
        Role::File | Role::Listing => Appearance::Doubtful,
    }
}
