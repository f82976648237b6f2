//! A publisher over the durable stores alone, for the subcommand that makes indexes anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::engine::{Holding, Rooms};
use super::{DurableStores, StartError};
use crate::config::{LiveRepositories, Repositories};
use crate::engine::publish::Publisher;
use crate::engine::shelf::ShelfBudget;
use crate::spool::SpoolFolder;

/// What it remembers of files, in bytes: it serves nobody.
const SHELF: ShelfBudget = ShelfBudget(1 << 20);

/// A publisher, and the folder that it works in, which goes with it.
pub struct PublisherBeside {
    /// It. Servers that run beside it are not told what it publishes: they compare what they remember with the catalog by themselves.
    pub publisher: Arc<Publisher>,
    folder: PathBuf,
}

impl PublisherBeside {
    /// Over these stores. A server may use the same data folder at the same time, so it has one of its own below.
    ///
    /// # Errors
    /// [`StartError`] when the folder cannot be made.
    pub fn open(stores: &DurableStores, repositories: &Repositories, data: &Path) -> Result<Self, StartError> {
        let folder = data.join(format!("rebuild-{}", std::process::id()));
        let spool = SpoolFolder::open(&folder.join("spool"))
            .map_err(|error| StartError::new(&format!("the folder {} cannot be used", folder.display()), &error))?;
        let publishing = folder.join("publish");
        let rooms = Rooms { spool: &spool, publishing: &publishing, shelf: SHELF };
        let repositories = Arc::new(LiveRepositories::new(repositories.clone()));
        let Holding { publisher, .. } = Holding::over(&stores.alone(), &rooms, &repositories)?;
        Ok(Self { publisher, folder })
    }
}

impl Drop for PublisherBeside {
    fn drop(&mut self) {
        // What is left is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
