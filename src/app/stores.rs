//! Which stores there are: files or S3, SQLite or PostgreSQL, in-process or Redis, each chosen by the settings alone.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::{StartError, lock, with_causes};
use crate::config::{PostgresSettings, S3Settings, Secret, Settings};
use crate::spool::SpoolFolder;
use crate::store::blobs::files::FileBlobs;
use crate::store::blobs::hot_tier::HotTier;
use crate::store::blobs::s3::{self, S3Blobs};
use crate::store::blobs::{BlobErrorKind, BlobStore};
use crate::store::catalog::fragments::Fragments;
use crate::store::catalog::postgres::{self, PostgresCatalog};
use crate::store::catalog::snapshots::Snapshots;
use crate::store::catalog::sqlite::SqliteCatalog;
use crate::store::catalog::tokens::Tokens;
use crate::store::catalog::{Catalog, CatalogErrorKind};
use crate::store::coordinator::in_process::InProcessCoordinator;
use crate::store::coordinator::redis::RedisCoordinator;
use crate::store::coordinator::{self, Coordinator, Event};

/// The three stores, whichever they are.
#[derive(Clone)]
pub struct Stores {
    /// Bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Records.
    pub catalog: Arc<dyn Catalog>,
    /// Snapshots, in the same database.
    pub snapshots: Arc<dyn Snapshots>,
    /// What our own packages contribute to indexes, in the same database.
    pub fragments: Arc<dyn Fragments>,
    /// Tokens, in the same database.
    pub tokens: Arc<dyn Tokens>,
    /// Leases and events.
    pub coordinator: Arc<dyn Coordinator>,
}

impl Stores {
    /// The stores that the settings choose.
    ///
    /// # Errors
    /// [`StartError`] when one of them needs an operator.
    pub async fn open(settings: &Settings, spool: &SpoolFolder) -> Result<Self, StartError> {
        let data = &settings.data_dir;
        let blobs: Arc<dyn BlobStore> = match &settings.s3 {
            Some(s3) => Arc::new(open_s3(settings, s3, spool).await?),
            None => Arc::new(open_files(data)?),
        };
        let Records { catalog, snapshots, fragments, tokens } = open_catalog(settings).await?;
        let coordinator: Arc<dyn Coordinator> = match &settings.redis {
            Some(redis) => {
                let redis = RedisCoordinator::connect(redis.url.expose()).await;
                Arc::new(redis.map_err(|error| StartError::new("Redis cannot be used", &error))?)
            }
            None => Arc::new(InProcessCoordinator::new()),
        };
        Ok(Self { blobs, catalog, snapshots, fragments, tokens, coordinator })
    }
}

/// The two stores that outlive a process, with nothing in front of them: for subcommands that work on the stores
/// themselves.
pub struct DurableStores {
    /// Bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Records.
    pub catalog: Arc<dyn Catalog>,
    /// Snapshots, in the same database.
    pub snapshots: Arc<dyn Snapshots>,
    /// What our own packages contribute to indexes, in the same database.
    pub fragments: Arc<dyn Fragments>,
    tokens: Arc<dyn Tokens>,
    /// Files below the data folder have one user at a time; a bucket has many.
    data_lock: Option<File>,
}

impl DurableStores {
    /// Those that the settings choose, with the catalog that is there.
    ///
    /// # Errors
    /// [`StartError`] when one of them needs an operator, a server uses the files, or there is no catalog.
    pub async fn open(settings: &Settings) -> Result<Self, StartError> {
        catalog_is_there(settings)?;
        Self::open_or_begin(settings).await
    }

    /// The same with a catalog that may be made now, because it was lost; what the store holds must be there.
    ///
    /// # Errors
    /// [`StartError`] when one of them needs an operator, a server uses the files, or there is neither a catalog nor a store.
    pub async fn open_for_rebuilding(settings: &Settings) -> Result<Self, StartError> {
        if settings.s3.is_none() && !settings.data_dir.join("blobs").is_dir() {
            catalog_is_there(settings)?;
        }
        Self::open_or_begin(settings).await
    }

    async fn open_or_begin(settings: &Settings) -> Result<Self, StartError> {
        let data = &settings.data_dir;
        let (blobs, data_lock): (Arc<dyn BlobStore>, _) = match &settings.s3 {
            Some(s3) => (Arc::new(reach_s3(s3).await?), None),
            None => {
                let lock = lock::take(data).map_err(|error| StartError(format!("{error}; or stop it first")))?;
                (Arc::new(open_files(data)?), Some(lock))
            }
        };
        let Records { catalog, snapshots, fragments, tokens } = open_catalog(settings).await?;
        Ok(Self { blobs, catalog, snapshots, fragments, tokens, data_lock })
    }

    /// With a coordinator that tells nobody: servers that run beside compare what they remember with the catalog by themselves.
    pub(super) fn alone(&self) -> Stores {
        let Self { blobs, catalog, snapshots, fragments, tokens, .. } = self;
        Stores {
            blobs: Arc::clone(blobs),
            catalog: Arc::clone(catalog),
            snapshots: Arc::clone(snapshots),
            fragments: Arc::clone(fragments),
            tokens: Arc::clone(tokens),
            coordinator: Arc::new(InProcessCoordinator::new()),
        }
    }

    /// Whether no server uses the files now.
    #[must_use]
    pub const fn are_ours_alone(&self) -> bool {
        self.data_lock.is_some()
    }
}

/// The stores as they are used beside a running server, or without one: records always, bytes if nobody else has them.
pub struct StoresBeside {
    /// Records.
    pub catalog: Arc<dyn Catalog>,
    /// Snapshots, in the same database.
    pub snapshots: Arc<dyn Snapshots>,
    /// Nobody is told: servers compare what they remember with the catalog by themselves, long before a blob is deleted.
    pub coordinator: Arc<dyn Coordinator>,
    /// Bytes; `None` if they are not wanted, or while a server uses the data folder that they are in.
    pub blobs: Option<Arc<dyn BlobStore>>,
    _data_lock: Option<File>,
}

impl StoresBeside {
    /// Those that the settings choose.
    ///
    /// # Errors
    /// [`StartError`] when one of them needs an operator.
    pub async fn open(settings: &Settings, with_blobs: bool) -> Result<Self, StartError> {
        catalog_is_there(settings)?;
        let Records { catalog, snapshots, .. } = open_catalog(settings).await?;
        let (blobs, data_lock): (Option<Arc<dyn BlobStore>>, _) = match &settings.s3 {
            _ if !with_blobs => (None, None),
            Some(s3) => (Some(Arc::new(reach_s3(s3).await?)), None),
            None => match lock::take_if_free(&settings.data_dir)? {
                Some(lock) => (Some(Arc::new(open_files(&settings.data_dir)?)), Some(lock)),
                None => (None, None),
            },
        };
        let coordinator = Arc::new(InProcessCoordinator::new());
        Ok(Self { catalog, snapshots, coordinator, blobs, _data_lock: data_lock })
    }
}

/// The snapshots alone, for subcommands that need nothing else; a server may run beside them.
///
/// # Errors
/// [`StartError`] when the catalog needs an operator.
pub async fn open_snapshots(settings: &Settings) -> Result<Arc<dyn Snapshots>, StartError> {
    catalog_is_there(settings)?;
    open_catalog(settings).await.map(|records| records.snapshots)
}

/// The tokens alone, for the subcommand that makes and revokes them; servers may run beside it.
///
/// # Errors
/// [`StartError`] when the catalog needs an operator.
pub async fn open_tokens(settings: &Settings) -> Result<Arc<dyn Tokens>, StartError> {
    catalog_is_there(settings)?;
    open_catalog(settings).await.map(|records| records.tokens)
}

/// Tells every server that tokens changed, where there is Redis. A server that does not hear of it asks the catalog within a
/// second anyway.
///
/// # Errors
/// [`StartError`] when nobody could be told.
pub async fn tell_that_tokens_changed(settings: &Settings) -> Result<(), StartError> {
    let Some(redis) = &settings.redis else { return Ok(()) };
    let told = coordinator::redis::tell(redis.url.expose(), &Event::TokensChanged).await;
    told.map_err(|error| StartError::new("the servers could not be told", &error))
}

/// What one database keeps.
struct Records {
    catalog: Arc<dyn Catalog>,
    snapshots: Arc<dyn Snapshots>,
    fragments: Arc<dyn Fragments>,
    tokens: Arc<dyn Tokens>,
}

impl Records {
    fn of<C: Catalog + Snapshots + Fragments + Tokens + 'static>(database: C) -> Self {
        let catalog = Arc::new(database);
        Self {
            snapshots: Arc::clone(&catalog) as _,
            fragments: Arc::clone(&catalog) as _,
            tokens: Arc::clone(&catalog) as _,
            catalog,
        }
    }
}

/// The folder that all bytes pass through, for the server.
///
/// # Errors
/// [`StartError`] when it cannot be used.
pub(super) fn open_spool(settings: &Settings) -> Result<SpoolFolder, StartError> {
    let spool = SpoolFolder::open(&settings.data_dir.join("spool"))
        .map_err(|error| StartError::new("the spool folder cannot be opened", &error))?;
    Ok(if settings.s3.is_some() { spool } else { spool.keeps_uploads_here() })
}

fn open_files(data: &Path) -> Result<FileBlobs, StartError> {
    FileBlobs::open(data).map_err(|error| StartError::new("the file store cannot be opened", &error))
}

/// In a folder where no server ever ran, a command would begin a catalog, say that all is well in it, and leave it behind.
fn catalog_is_there(settings: &Settings) -> Result<(), StartError> {
    let data = &settings.data_dir;
    if settings.postgres.is_some() || data.join(CATALOG).exists() {
        return Ok(());
    }
    Err(StartError(format!(
        "there is no catalog in {}; set ARTIFACTAPI_DATA_DIR to the server's data folder, or start the server first",
        data.display()
    )))
}

/// The file of the SQLite catalog.
const CATALOG: &str = "catalog.sqlite";

async fn open_catalog(settings: &Settings) -> Result<Records, StartError> {
    if let Some(postgres) = &settings.postgres {
        return Ok(Records::of(open_postgres(postgres).await?));
    }
    let sqlite = SqliteCatalog::open(&settings.data_dir.join(CATALOG)).await;
    Ok(Records::of(sqlite.map_err(|error| StartError::new("the SQLite catalog cannot be opened", &error))?))
}

async fn open_s3(settings: &Settings, s3: &S3Settings, spool: &SpoolFolder) -> Result<HotTier<S3Blobs>, StartError> {
    let folder = settings.data_dir.join("hot");
    HotTier::open(reach_s3(s3).await?, &folder, settings.hot_tier_bytes, spool.clone())
        .map_err(|error| StartError::new("the hot tier cannot be opened", &error))
}

/// A bucket that cannot be reached yet may be any moment; one that is missing or refuses us will not.
async fn reach_s3(s3: &S3Settings) -> Result<S3Blobs, StartError> {
    let settings_of_store = s3::S3Settings {
        endpoint: s3.endpoint.as_ref().map(ToString::to_string),
        secure: true,
        region: s3.region.clone(),
        bucket: s3.bucket.clone(),
        keys: s3.keys.as_ref().map(|keys| s3::S3Keys {
            access_key: keys.access.expose().to_owned(),
            secret_key: keys.secret.expose().to_owned(),
        }),
    };
    let store = S3Blobs::new(&settings_of_store)
        .await
        .map_err(|error| StartError::new("S3 (MINIO_*) cannot be used", &error))?;
    match store.ping().await {
        Ok(()) => {}
        Err(error) if s3.keys.is_none() && s3::lacks_credentials(&error) => {
            return Err(StartError(
                "S3 (MINIO_*) cannot be used: MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set, and no AWS credentials were \
                 found"
                    .to_owned(),
            ));
        }
        Err(error) if matches!(error.kind, BlobErrorKind::Missing | BlobErrorKind::Denied) => {
            return Err(StartError::new("S3 (MINIO_*) cannot be used", &error));
        }
        Err(error) => {
            tracing::warn!(error = with_causes(&error), "S3 does not answer; serving without it until it does")
        }
    }
    Ok(store)
}

/// A database that does not answer yet may do so any moment, and every call tries again; one that refuses us will not.
async fn open_postgres(settings: &PostgresSettings) -> Result<PostgresCatalog, StartError> {
    let password = settings.password.as_ref().map_or("", Secret::expose);
    let catalog = PostgresCatalog::connect(&postgres::PostgresSettings {
        host: &settings.host,
        port: settings.port,
        user: &settings.user,
        password,
        database: &settings.database,
        connections: postgres::DEFAULT_CONNECTIONS,
    });
    let place = format!("PostgreSQL at {}:{} (DBHOST, DBPORT)", settings.host, settings.port);
    match catalog.migrate().await {
        Ok(()) => Ok(catalog),
        Err(error) if error.kind == CatalogErrorKind::Unavailable => {
            tracing::warn!(
                error = with_causes(&error),
                "{place} does not answer; serving without a catalog until it does"
            );
            Ok(catalog)
        }
        Err(error) => Err(StartError::new(&format!("{place} cannot be used"), &error)),
    }
}
