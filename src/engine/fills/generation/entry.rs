//! The entry file that the next generation is built around.

use artifactapi_formats::{IndexFormat, IndexRoot, Limits, Role};
use bytes::Bytes;

use super::super::super::content::Content;
use super::super::super::fill::Order;
use super::super::giver::Giver;
use super::NotBuilt;
use crate::spool::Spooled;
use crate::store::catalog::Artifact;

/// An entry file.
pub(super) struct Entry {
    /// Its record, complete but for blob and revision if it is not kept yet.
    pub(super) record: Artifact,
    /// Its bytes.
    pub(super) bytes: EntryBytes,
    /// Where it came from.
    pub(super) giver: Giver,
    /// Whether members that upstream does not have are left out; else they are waited for.
    pub(super) may_have_gaps: bool,
}

/// Where the bytes of an entry are.
pub(super) enum EntryBytes {
    /// In the spool they came in; nobody was shown them.
    New(Spooled),
    /// Kept, for the entry of a root that was never held is shown as it comes.
    Kept(Content),
}

impl Entry {
    /// Its bytes.
    pub(super) fn content(&self) -> Content {
        match &self.bytes {
            EntryBytes::New(spooled) => Content::from(spooled),
            EntryBytes::Kept(content) => content.clone(),
        }
    }

    /// Whether clients were given it already, so that they ask for what it names.
    pub(super) fn is_shown(&self) -> bool {
        matches!(self.bytes, EntryBytes::Kept(_))
    }

    /// The whole of it; nothing of one that is too long, as only formats have whose entry is the whole index: they read it as a stream.
    pub(super) async fn text(&self, limits: &Limits) -> Result<Bytes, NotBuilt> {
        let content = self.content();
        if matches!(content, Content::File(_)) && self.record.size > limits.entry_bytes {
            return Ok(Bytes::new());
        }
        let read = content.bytes(self.record.size).await;
        read.map_err(|error| NotBuilt::Ours(format!("{} cannot be read: {error}", self.record.target)))
    }

    /// What upstream has does not belong to this entry, for this reason.
    pub(super) fn contradicts(&self, why: impl Into<String>) -> NotBuilt {
        NotBuilt::Contradiction(self.giver.unfit(why))
    }
}

/// The index side of what an order is about, if it is for the entry file of a root.
pub(in crate::engine::fills) fn entry_of(order: &Order) -> Option<(&'static dyn IndexFormat, IndexRoot)> {
    if order.role != Role::Index || !order.target.query.is_empty() {
        return None;
    }
    let index = order.repository.format.index()?;
    let root = index.root_of(&order.target.path)?;
    (root.entry == order.target.path).then_some((index, root))
}
