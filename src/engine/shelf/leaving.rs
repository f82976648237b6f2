//! What happens to what leaves the shelf: nobody may give it out any more, and its uses are not forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Lifecycle;

use super::super::held::Held;
use crate::store::key::Target;

/// How many targets may have left the shelf with uses that the catalog does not know of yet.
const UNTOLD: usize = 65_536;

/// Uses of what left the shelf before the catalog was told of them.
pub(super) type Untold = Arc<Mutex<HashMap<Target, u64>>>;

/// What happens to an entry that makes room, or is replaced by another.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaving {
    pub(super) untold: Untold,
}

impl Lifecycle<Target, Arc<Held>> for Leaving {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), target: Target, held: Arc<Held>) {
        held.supersede();
        let uses = held.take_uses();
        if uses == 0 {
            return;
        }
        let mut untold = self.untold.lock();
        if untold.len() < UNTOLD || untold.contains_key(&target) {
            *untold.entry(target).or_default() += uses;
        }
    }
}
