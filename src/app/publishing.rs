//! A publisher over the durable stores alone, for the subcommand that makes indexes anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifactapi_formats::Limits;

use super::{DurableStores, StartError};
use crate::config::{LiveRepositories, Repositories};
use crate::engine::identities::Identities;
use crate::engine::keep::Keeper;
use crate::engine::pins::Pins;
use crate::engine::publish::{Publisher, PublisherParts};
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::switches::Switches;
use crate::spool::SpoolFolder;
use crate::store::coordinator::Coordinator;
use crate::store::coordinator::in_process::InProcessCoordinator;

/// What it remembers of files, in bytes: it serves nobody.
const SHELF: ShelfBudget = ShelfBudget(1 << 20);

/// A publisher, and the folder that it works in, which goes with it.
pub struct PublisherBeside {
    /// It. Servers that run beside it are not told what it publishes: they compare what they remember with the catalog by themselves.
    pub publisher: Publisher,
    folder: PathBuf,
}

impl PublisherBeside {
    /// Over these stores. A server may use the same data folder at the same time, so it has one of its own below.
    ///
    /// # Errors
    /// [`StartError`] when the folder cannot be made.
    pub fn open(stores: &DurableStores, repositories: &Repositories, data: &Path) -> Result<Self, StartError> {
        let folder = data.join(format!("rebuild-{}", std::process::id()));
        let failed = |error: &dyn std::error::Error| {
            StartError::new(&format!("the folder {} cannot be used", folder.display()), error)
        };
        let spool = SpoolFolder::open(&folder.join("spool")).map_err(|error| failed(&error))?;
        let coordinator: Arc<dyn Coordinator> = Arc::new(InProcessCoordinator::new());
        let (blobs, catalog) = (Arc::clone(&stores.blobs), Arc::clone(&stores.catalog));
        let shelf = Arc::new(Shelf::new(SHELF, Arc::clone(&catalog), Arc::clone(&blobs)));
        let snapshots = Arc::clone(&stores.snapshots);
        let keeper =
            Keeper::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&snapshots), Arc::clone(&coordinator));
        let identities =
            Identities::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&coordinator), spool.clone());
        let switches = Switches::new(Arc::clone(&shelf), Arc::clone(&snapshots), Arc::new(Pins::default()), identities);
        let parts = PublisherParts {
            limits: Limits::default(),
            spool,
            keeper: Arc::new(keeper),
            switches: Arc::new(switches),
            fragments: Arc::clone(&stores.fragments),
            shelf,
            blobs,
            catalog,
            snapshots,
            coordinator,
            repositories: Arc::new(LiveRepositories::new(repositories.clone())),
        };
        let publisher = Publisher::open(&folder.join("publish"), parts).map_err(|error| failed(&error))?;
        Ok(Self { publisher, folder })
    }
}

impl Drop for PublisherBeside {
    fn drop(&mut self) {
        // What is left is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
