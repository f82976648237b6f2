//! Reading through a virtual repository: from the first of its members that has the path.
//!
//! Members are asked in their order, each as if it were asked itself: its patterns hold, its cache serves, its own rules say when
//! its upstream is asked. One that is away is passed over as long as a later one has the path; if none has it, its trouble is
//! the answer, for the path may well be there. Who may read is decided for the virtual repository alone, before this.
//!
//! It keeps nothing itself, and never asks two members at once: what a later one has is only wanted if no earlier one has it.

use std::sync::Arc;

use super::{ReadError, Reader, Reading, Wish};
use crate::config::{Admission, Repository, Virtual};
use crate::store::key::Target;

impl Reader {
    pub(super) async fn read_virtual(&self, wish: &Wish, all: &Virtual) -> Result<Reading, ReadError> {
        self.read_first(wish, all).await
    }

    /// What the first member has that has anything.
    async fn read_first(&self, wish: &Wish, all: &Virtual) -> Result<Reading, ReadError> {
        let mut trouble = None;
        for member in &all.members {
            let Some(wish) = of_member(wish, member) else { continue };
            match Box::pin(self.read(&wish)).await {
                Ok(reading) => return Ok(reading),
                Err(ReadError::Absent(_)) => {}
                Err(error) => {
                    tracing::debug!(path = %wish.target, %error, "passed over");
                    trouble.get_or_insert(error);
                }
            }
        }
        Err(trouble.unwrap_or_else(|| ReadError::Absent(format!("no member has it ({})", names(all)))))
    }
}

/// The same wish to a member; `None` if the member's patterns do not let anybody have it.
fn of_member(wish: &Wish, member: &Arc<Repository>) -> Option<Wish> {
    let path = &wish.target.path;
    let is_admitted = matches!(member.patterns.admits(path.as_str(), wish.role), Admission::Admitted);
    is_admitted.then(|| Wish {
        repository: Arc::clone(member),
        target: Target::with_query(member.name.clone(), path.clone(), &wish.target.query),
        ..wish.clone()
    })
}

fn names(all: &Virtual) -> String {
    all.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
}
