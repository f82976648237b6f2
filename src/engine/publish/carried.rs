//! What an index says of the files that it carries as they are: comps, updateinfo, modules, productid.

use std::io::Read as _;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::decompress::{self, Compression};
use artifactapi_formats::publish::{Carried, PublishFormat};
use artifactapi_formats::{Invalid, Limits, RepoPath, Sha256};
use sha2::Digest as _;

use super::joined::OPEN_DIGEST_BYTES;
use super::restore::Opened;
use super::{PublishError, Publisher};
use crate::engine::threads::{Pace, on_its_own};
use crate::store::catalog::Artifact;

/// Files of which it is remembered what is compressed in them.
pub(super) const OPENED: usize = 256;

/// Files of members of which it is remembered whether clients can read them.
pub(super) const CHECKED: usize = 1_024;

/// A file that an index of a member carries. What is found of it is found of these bytes under this name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OfMember {
    pub(super) sha256: Sha256,
    pub(super) kind: String,
    pub(super) path: RepoPath,
}

/// Whether clients can read it, and if not, why.
pub(super) type Verdict = Result<(), Arc<Invalid>>;

/// Length and digest of what is compressed in a file, if it is compressed and that is not too long.
pub(super) type Open = Option<(u64, Sha256)>;

impl Publisher {
    /// What is said of a file; `None` of one that is not carried.
    pub(super) async fn told_of(&self, format: &dyn PublishFormat, file: &Artifact) -> Option<Carried> {
        let kind = format.carried_kind(&file.target.path)?;
        let uploaded_at = file.stored_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let open = self.open_of(file).await;
        Some(Carried { kind, path: file.target.path.clone(), size: file.size, sha256: file.sha256, open, uploaded_at })
    }

    /// No client needs it; so a file that cannot be read, or unfolds to more than a list may, is carried without.
    async fn open_of(&self, file: &Artifact) -> Open {
        if Compression::of_name(file.target.path.file_name()) == Compression::None {
            return None;
        }
        if let Some(known) = self.opened.get(&file.sha256) {
            return known;
        }
        match self.unfold(file).await {
            Ok(open) => {
                self.opened.insert(file.sha256, open);
                open
            }
            Err(error) => {
                tracing::debug!(target: "artifactapi::publish", path = %file.target, %error, "carried without its open digest");
                None
            }
        }
    }

    async fn unfold(&self, file: &Artifact) -> Result<Open, PublishError> {
        let Opened { mut bytes, spooled } = self.opened(file).await?;
        let limits = self.limits.clone();
        let unfolding = on_its_own(Pace::Usual, move || {
            // Dropped with the thread: where the bytes are, if they had to be fetched.
            let _spooled = spooled;
            unfolded(&mut bytes, &limits)
        });
        unfolding.await.ok_or_else(|| PublishError::Unreadable("the thread that read it died".to_owned()))
    }
}

/// Unfolds a file. `None` if it is none, or too long.
fn unfolded(mut bytes: &mut dyn std::io::Read, limits: &Limits) -> Open {
    let mut open = decompress::open("a carried file", &mut bytes, limits).ok()?.take(OPEN_DIGEST_BYTES + 1);
    let (mut size, mut sha256, mut frame) = (0_u64, sha2::Sha256::new(), vec![0; 64 << 10]);
    loop {
        match open.read(&mut frame) {
            Ok(0) => break,
            Ok(read) => {
                size += read as u64;
                sha256.update(&frame[..read]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    (size <= OPEN_DIGEST_BYTES).then(|| (size, Sha256::from_bytes(sha256.finalize().into())))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("compressed");
        encoder.finish().expect("compressed")
    }

    #[test]
    fn what_is_compressed_in_a_file() {
        let of = |file: Vec<u8>| unfolded(&mut &*file, &Limits::default());
        let text = b"<comps/>\n".repeat(1_000);
        let right = Some((text.len() as u64, Sha256::of(&text)));
        assert_eq!(of(gzip(&text)), right);
        assert_eq!(of(zstd::bulk::compress(&text, 3).expect("compressed")), right);
        let half = gzip(&text);
        assert_eq!(of(half[..half.len() / 2].to_vec()), None);
        let most = usize::try_from(OPEN_DIGEST_BYTES).expect("small");
        assert!(of(gzip(&vec![b'x'; most])).is_some());
        assert_eq!(of(gzip(&vec![b'x'; most + 1])), None);
    }
}
