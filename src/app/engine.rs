//! The parts of the engine, put together over whichever stores there are.
//!
//! [`Holding`] is what keeps and publishes; a subcommand that makes indexes anew needs no more. [`Engine`] is that and what
//! asks upstream. Both are taken apart where they are made: nobody is handed the whole.

use std::path::Path;
use std::sync::Arc;

use artifactapi_formats::Limits;

use super::{StartError, Stores};
use crate::config::LiveRepositories;
use crate::engine::batch::{BatchParts, Batches};
use crate::engine::counts::Counts;
use crate::engine::distrust::Distrust;
use crate::engine::fills::{FillParts, Fills};
use crate::engine::generations::Generations;
use crate::engine::identities::Identities;
use crate::engine::keep::Keeper;
use crate::engine::pins::Pins;
use crate::engine::publish::{Publisher, PublisherParts};
use crate::engine::read::{Reader, ReaderParts};
use crate::engine::roots::Roots;
use crate::engine::shelf::{Shelf, ShelfBudget};
use crate::engine::switches::Switches;
use crate::spool::SpoolFolder;
use crate::upstream::Upstream;

/// Where the engine works, and how much it may remember.
pub(crate) struct Rooms<'r> {
    /// Where bodies grow.
    pub spool: &'r SpoolFolder,
    /// Where pieces of indexes lie.
    pub publishing: &'r Path,
    /// What the shelf may hold.
    pub shelf: ShelfBudget,
}

/// What keeps and publishes.
pub(crate) struct Holding {
    pub shelf: Arc<Shelf>,
    pub pins: Arc<Pins>,
    pub keeper: Arc<Keeper>,
    pub switches: Arc<Switches>,
    pub publisher: Arc<Publisher>,
}

impl Holding {
    /// Over these stores.
    ///
    /// # Errors
    /// [`StartError`] when the folder for pieces of indexes cannot be opened.
    pub(crate) fn over(
        stores: &Stores,
        rooms: &Rooms<'_>,
        repositories: &Arc<LiveRepositories>,
    ) -> Result<Self, StartError> {
        let Stores { blobs, catalog, snapshots, fragments, coordinator, .. } = stores.clone();
        let spool = rooms.spool.clone();
        let shelf = Arc::new(Shelf::new(rooms.shelf, Arc::clone(&catalog), Arc::clone(&blobs)));
        let pins = Arc::new(Pins::default());
        let keeper =
            Keeper::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&snapshots), Arc::clone(&coordinator));
        let keeper = Arc::new(keeper);
        let identities =
            Identities::new(Arc::clone(&blobs), Arc::clone(&catalog), Arc::clone(&coordinator), spool.clone());
        let switches = Switches::new(Arc::clone(&shelf), Arc::clone(&snapshots), Arc::clone(&pins), identities);
        let switches = Arc::new(switches);
        let parts = PublisherParts {
            limits: Limits::default(),
            spool,
            shelf: Arc::clone(&shelf),
            blobs,
            keeper: Arc::clone(&keeper),
            catalog,
            snapshots,
            fragments,
            coordinator,
            switches: Arc::clone(&switches),
            repositories: Arc::clone(repositories),
        };
        let publisher = Publisher::open(rooms.publishing, parts)
            .map_err(|error| StartError::new("the folder for pieces of indexes cannot be opened", &error))?;
        Ok(Self { shelf, pins, keeper, switches, publisher: Arc::new(publisher) })
    }
}

/// All of it.
pub(crate) struct Engine {
    pub holding: Holding,
    pub fills: Arc<Fills>,
    pub reader: Arc<Reader>,
    pub batches: Arc<Batches>,
    pub generations: Generations,
    pub distrust: Arc<Distrust>,
    pub counts: Arc<Counts>,
}

impl Engine {
    /// Over these stores, asking this upstream.
    ///
    /// # Errors
    /// [`StartError`] when the folder for pieces of indexes cannot be opened.
    pub(crate) fn over(
        stores: &Stores,
        rooms: &Rooms<'_>,
        upstream: Upstream,
        repositories: &Arc<LiveRepositories>,
        counts: Arc<Counts>,
    ) -> Result<Self, StartError> {
        let holding = Holding::over(stores, rooms, repositories)?;
        let Stores { blobs, catalog, snapshots, coordinator, .. } = stores.clone();
        let distrust = Arc::new(Distrust::default());
        let fills = Arc::new(Fills::new(FillParts {
            upstream,
            spool: rooms.spool.clone(),
            limits: Limits::default(),
            shelf: Arc::clone(&holding.shelf),
            keeper: Arc::clone(&holding.keeper),
            catalog: Arc::clone(&catalog),
            snapshots: Arc::clone(&snapshots),
            blobs: Arc::clone(&blobs),
            coordinator: Arc::clone(&coordinator),
            switches: Arc::clone(&holding.switches),
            counts: Arc::clone(&counts),
            distrust: Arc::clone(&distrust),
        }));
        let generations = Generations::new(Arc::clone(&snapshots));
        let reader = Arc::new(Reader::new(ReaderParts {
            shelf: Arc::clone(&holding.shelf),
            fills: Arc::clone(&fills),
            roots: Roots::new(Arc::clone(&holding.shelf), Arc::clone(&snapshots), Limits::default()),
            generations: generations.clone(),
            pins: Arc::clone(&holding.pins),
            switches: Arc::clone(&holding.switches),
            publisher: Arc::clone(&holding.publisher),
            blobs: Arc::clone(&blobs),
            coordinator,
            counts: Arc::clone(&counts),
        }));
        let batches = Arc::new(Batches::new(BatchParts {
            reader: Arc::clone(&reader),
            fills: Arc::clone(&fills),
            catalog,
            snapshots,
            blobs,
            limits: Limits::default(),
        }));
        Ok(Self { holding, fills, reader, batches, generations, distrust, counts })
    }
}
