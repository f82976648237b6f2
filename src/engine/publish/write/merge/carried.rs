//! What a merged index carries beside its lists: of each kind what its members carry, joined if the format can, or else that of the
//! first member that has any.
//!
//! What only one member has is carried as it is, as a record of the same blob. A file that cannot be joined, because it is not what
//! its name says, is no reason to have no index: then it is the first member's alone.

use std::sync::Arc;

use artifactapi_formats::publish::PublishFormat;
use artifactapi_formats::{Invalid, RepoPath, Role};

use super::Part;
use crate::config::Repository;
use crate::engine::publish::spooling::spooled;
use crate::engine::publish::{PublishError, Publisher};
use crate::store::catalog::{Artifact, Revision};
use crate::store::key::Target;

/// The files of one kind; a compressed form is of the same.
struct Files<'p> {
    kind: String,
    /// By member, in their order.
    of: Vec<(&'p Part, Vec<&'p Artifact>)>,
}

impl Publisher {
    pub(super) async fn carried(
        &self,
        repository: &Repository,
        root: &Target,
        parts: &[Part],
    ) -> Result<Vec<Artifact>, PublishError> {
        let Some(format) = repository.format.publish() else { return Ok(Vec::new()) };
        let mut carried = Vec::new();
        for files in by_kind(format, parts) {
            if let (Some(name), true) = (format.joined_name(&files.kind), files.of.len() > 1) {
                match self.joined(repository, format, root, &files, name).await {
                    Ok(joined) => {
                        carried.push(joined);
                        continue;
                    }
                    Err(PublishError::Invalid(why)) => tracing::warn!(
                        target: "artifactapi::publish",
                        %root, kind = %files.kind, %why, "not joined: it is the first member's alone"
                    ),
                    Err(error) => return Err(error),
                }
            }
            let first = files.of.first().map_or(&[][..], |(_, files)| files);
            carried.extend(first.iter().map(|file| Artifact {
                target: Target::new(repository.name.clone(), file.target.path.clone()),
                revision: Revision(0),
                identity: None,
                ..(*file).clone()
            }));
        }
        Ok(carried)
    }

    async fn joined(
        &self,
        repository: &Repository,
        format: &'static dyn PublishFormat,
        root: &Target,
        files: &Files<'_>,
        name: &str,
    ) -> Result<Artifact, PublishError> {
        let mut readers = Vec::with_capacity(files.of.len());
        for (part, files) in &files.of {
            if let Some(file) = files.first() {
                readers.push(self.open_list(&part.member, file).await?);
            }
        }
        let (kind, limits) = (files.kind.clone(), self.limits.clone());
        let joining = spooled(&self.spool, move |into| {
            format.join(&kind, &mut readers, &limits, into).map_err(|error| match error {
                Invalid::Read(error) => error.into(),
                why => PublishError::Invalid(Arc::new(why)),
            })
        });
        let joined = joining.await?;
        let path = RepoPath::join(root.path.folder(), &format!("{}-{name}", joined.sha256));
        let path = path.map_err(|_| PublishError::OwnIndex)?;
        let target = Target::new(root.repository.clone(), path);
        self.put_aside(self.draft(repository, target, Role::IndexMember, &joined), &joined).await
    }
}

fn by_kind<'p>(format: &dyn PublishFormat, parts: &'p [Part]) -> Vec<Files<'p>> {
    let mut all: Vec<Files<'p>> = Vec::new();
    for part in parts {
        for file in &part.snapshot.files {
            let Some(kind) = format.carried_kind(&file.target.path) else { continue };
            let kind = kind.split('_').next().unwrap_or_default();
            let at = all.iter().position(|files| files.kind == kind).unwrap_or_else(|| {
                all.push(Files { kind: kind.to_owned(), of: Vec::new() });
                all.len() - 1
            });
            let Some(files) = all.get_mut(at) else { continue };
            match files.of.last_mut().filter(|(last, _)| std::ptr::eq(*last, part)) {
                Some((_, of_part)) => of_part.push(file),
                None => files.of.push((part, vec![file])),
            }
        }
    }
    all
}
