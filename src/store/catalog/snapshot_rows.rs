//! Between snapshots and rows: the same columns in both databases.

use artifactapi_formats::{Identity, PackageEntry, RepoPath};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::row::{ArtifactRow, from_millis, query_key, to_i64, to_millis};
use super::snapshots::{Coldest, NamedPackage, PackageChange, PackageMark, PackageRowId, Snapshot, SnapshotId, Tag};
use super::{Artifact, CatalogError, CatalogErrorKind};
use crate::store::key::{RepositoryName, Target};

fn damaged(during: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> CatalogError + Copy {
    move |source| CatalogError { kind: CatalogErrorKind::Damaged, during, source: Some(source) }
}

/// The root that these columns name.
pub(super) fn read_root(repository: &str, path: &str, during: &'static str) -> Result<Target, CatalogError> {
    let damaged = damaged(during);
    let repository = repository.parse::<RepositoryName>().map_err(|error| damaged(error.into()))?;
    let path = RepoPath::new(path).map_err(|error| damaged(error.into()))?;
    Ok(Target::new(repository, path))
}

#[derive(sqlx::FromRow)]
struct Head {
    snapshot: i64,
    root_repository: String,
    root_path: String,
    published_at: i64,
    made_at: Option<i64>,
    source: String,
    packages: i64,
    tags: Option<String>,
}

impl Head {
    fn read(self, during: &'static str) -> Result<Snapshot, CatalogError> {
        let damaged = damaged(during);
        let tags = self.tags.unwrap_or_default();
        let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::parse::<Tag>);
        let mut tags = tags.collect::<Result<Vec<_>, _>>().map_err(|error| damaged(error.into()))?;
        tags.sort_unstable();
        Ok(Snapshot {
            id: SnapshotId(self.snapshot),
            root: read_root(&self.root_repository, &self.root_path, during)?,
            published_at: from_millis(self.published_at),
            made_at: self.made_at.map(from_millis),
            source: self.source,
            packages: self.packages.unsigned_abs(),
            tags,
            files: Vec::new(),
        })
    }
}

/// A snapshot and one of its files, or none.
pub(super) struct SnapshotRow {
    head: Head,
    file: Option<ArtifactRow>,
}

impl<'r, R: Row> FromRow<'r, R> for SnapshotRow
where
    Head: FromRow<'r, R>,
    ArtifactRow: FromRow<'r, R>,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let file = match row.try_get::<Option<i64>, _>("position")? {
            Some(_) => Some(ArtifactRow::from_row(row)?),
            None => None,
        };
        Ok(Self { head: Head::from_row(row)?, file })
    }
}

/// The one snapshot that these rows tell of.
pub(super) fn read_snapshot(rows: Vec<SnapshotRow>, during: &'static str) -> Result<Option<Snapshot>, CatalogError> {
    let mut snapshot = None;
    for SnapshotRow { head, file } in rows {
        let snapshot = match &mut snapshot {
            Some(snapshot) => snapshot,
            none => none.insert(head.read(during)?),
        };
        if let Some(file) = file {
            snapshot.files.push(file.read(during)?);
        }
    }
    Ok(snapshot)
}

/// Snapshots without their files.
pub(super) fn read_snapshots(rows: Vec<SnapshotRow>, during: &'static str) -> Result<Vec<Snapshot>, CatalogError> {
    rows.into_iter().map(|row| row.head.read(during)).collect()
}

/// One row of `package`, with its root.
#[derive(sqlx::FromRow)]
pub(super) struct PackageRow {
    id: i64,
    root_repository: String,
    root_path: String,
    path: String,
    name: String,
    version: String,
    arch: String,
    size: i64,
    identity: String,
    first: i64,
    last: Option<i64>,
}

impl PackageRow {
    fn read(self, during: &'static str) -> Result<NamedPackage, CatalogError> {
        let damaged = damaged(during);
        Ok(NamedPackage {
            row: PackageRowId(self.id),
            root: read_root(&self.root_repository, &self.root_path, during)?,
            package: PackageEntry {
                name: self.name,
                version: self.version,
                arch: self.arch,
                path: RepoPath::new(&self.path).map_err(|error| damaged(error.into()))?,
                size: self.size.unsigned_abs(),
                identity: self.identity.parse::<Identity>().map_err(|error| damaged(error.into()))?,
            },
            first: SnapshotId(self.first),
            last: self.last.map(SnapshotId),
        })
    }
}

/// Packages in the order of their rows.
pub(super) fn read_packages(rows: Vec<PackageRow>, during: &'static str) -> Result<Vec<NamedPackage>, CatalogError> {
    rows.into_iter().map(|row| row.read(during)).collect()
}

/// What differs between two snapshots of which either may be the earlier one. The two sides of a path follow each other, the
/// earlier one first.
pub(super) fn read_changes(
    rows: Vec<PackageRow>,
    from: SnapshotId,
    to: SnapshotId,
    during: &'static str,
) -> Result<Vec<PackageChange>, CatalogError> {
    let mut changes: Vec<PackageChange> = Vec::new();
    for named in read_packages(rows, during)? {
        if named.first <= from.min(to) {
            changes.push(PackageChange { from: Some(named.package), to: None });
            continue;
        }
        match changes.last_mut() {
            Some(PackageChange { from: Some(from), to: to @ None }) if from.path == named.package.path => {
                *to = Some(named.package);
            }
            _ => changes.push(PackageChange { from: None, to: Some(named.package) }),
        }
    }
    if to < from {
        changes.iter_mut().for_each(|change| std::mem::swap(&mut change.from, &mut change.to));
    }
    Ok(changes)
}

/// A record and when it was last used.
#[derive(sqlx::FromRow)]
pub(super) struct ColdestRow {
    #[sqlx(flatten)]
    record: ArtifactRow,
    used_at: i64,
}

impl ColdestRow {
    pub(super) fn read(self, during: &'static str) -> Result<Coldest, CatalogError> {
        Ok(Coldest { artifact: self.record.read(during)?, last_used: from_millis(self.used_at) })
    }
}

/// Where a page of the coldest begins: after this use and revision.
pub(super) fn colder_than(after: Option<&Coldest>) -> (i64, i64) {
    after.map_or((i64::MIN, i64::MIN), |after| (to_millis(after.last_used), after.artifact.revision.0))
}

/// Marks with the rows they are of.
pub(super) fn read_marks(
    rows: Vec<(Vec<u8>, i64)>,
    during: &'static str,
) -> Result<Vec<(PackageMark, PackageRowId)>, CatalogError> {
    rows.into_iter().map(|(mark, row)| Ok((read_mark(&mark, during)?, PackageRowId(row)))).collect()
}

/// Reads a mark.
pub(super) fn read_mark(mark: &[u8], during: &'static str) -> Result<PackageMark, CatalogError> {
    let mark = mark.try_into().map_err(|_| damaged(during)("a mark is not 16 bytes long".into()))?;
    Ok(PackageMark(mark))
}

/// A package as it goes into a row.
pub(super) struct NewPackage {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) arch: String,
    pub(super) size: i64,
    pub(super) identity: String,
    pub(super) mark: PackageMark,
}

/// Packages as they go into rows, each once.
pub(super) fn new_packages(packages: &[PackageEntry]) -> Vec<NewPackage> {
    let mut seen = std::collections::HashSet::with_capacity(packages.len());
    let new = |package: &PackageEntry| NewPackage {
        path: package.path.to_string(),
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.arch.clone(),
        size: to_i64(package.size),
        identity: package.identity.to_string(),
        mark: PackageMark::of(package),
    };
    packages.iter().map(new).filter(|package| seen.insert(package.mark)).collect()
}

/// The files of a snapshot, column by column.
#[derive(Default)]
pub(super) struct Files {
    pub(super) repositories: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) queries: Vec<String>,
    pub(super) query_keys: Vec<String>,
    pub(super) blobs: Vec<String>,
    pub(super) sizes: Vec<i64>,
    pub(super) sha256s: Vec<Vec<u8>>,
    pub(super) content_types: Vec<String>,
    pub(super) etags: Vec<Option<String>>,
    pub(super) upstream_last_modifieds: Vec<Option<String>>,
    pub(super) last_modifieds: Vec<i64>,
    pub(super) stored_ats: Vec<i64>,
    pub(super) checked_ats: Vec<i64>,
    pub(super) identities: Vec<Option<String>>,
}

impl Files {
    pub(super) fn of(files: &[Artifact]) -> Self {
        let mut columns = Self::default();
        for file in files {
            columns.repositories.push(file.target.repository.to_string());
            columns.paths.push(file.target.path.to_string());
            columns.queries.push(file.target.query.to_string());
            columns.query_keys.push(query_key(&file.target.query).into_owned());
            columns.blobs.push(file.blob.to_string());
            columns.sizes.push(to_i64(file.size));
            columns.sha256s.push(file.sha256.as_bytes().to_vec());
            columns.content_types.push(file.content_type.clone());
            columns.etags.push(file.validators.etag.clone());
            columns.upstream_last_modifieds.push(file.validators.last_modified.clone());
            columns.last_modifieds.push(to_millis(file.last_modified));
            columns.stored_ats.push(to_millis(file.stored_at));
            columns.checked_ats.push(to_millis(file.checked_at));
            columns.identities.push(file.identity.as_ref().map(Identity::to_string));
        }
        columns
    }
}
