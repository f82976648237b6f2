//! One file on its way: looked for, sent, and sent again when a connection breaks.
//!
//! A file is read twice, once for its digest and once to be sent, so that the server can tell whether what arrives is what was
//! meant. Before it is sent, the server is asked whether it has these very bytes: that makes a second run cheap, and shows a
//! wrong token before a gigabyte is on its way. Sending the same file again is no news to the server, so whatever breaks off
//! is begun anew, a bounded number of times.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use artifactapi_formats::{Algorithm, Digest};
use bytes::BytesMut;
use futures_util::stream::try_unfold;
use indicatif::ProgressBar;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH, RANGE};
use reqwest::{Body, Response, StatusCode};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::server::{Destination, SILENCE, Server, body, in_time, refusal};
use super::{Job, Outcome};

/// How often a file is tried.
const TRIES: u32 = 6;

/// How long to wait before the second try; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How often is looked whether it is silent.
const LOOK: Duration = Duration::from_secs(5);

/// A file is read in pieces of so many bytes.
const FRAME: usize = 256 << 10;

/// What the server says of a file that it took.
#[derive(Debug, Deserialize)]
struct Taken {
    result: String,
}

/// How much of a file is on its way.
#[derive(Clone)]
struct Progress {
    sent: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Progress {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn took(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    fn begin_again(&self) {
        self.bar.dec(self.sent.swap(0, Ordering::Relaxed));
    }
}

/// Whether to try again.
enum Tried {
    Over(Outcome),
    Again(String),
}

/// Sends a file, and waits until it is clear what became of it.
pub(super) async fn send(server: &Server, to: &Destination, job: &Job, bar: &ProgressBar) -> Outcome {
    let progress = Progress { sent: Arc::default(), bar: bar.clone() };
    let outcome = until_it_is_clear(server, to, job, &progress).await;
    bar.inc(job.size.saturating_sub(progress.sent()));
    outcome
}

async fn until_it_is_clear(server: &Server, to: &Destination, job: &Job, progress: &Progress) -> Outcome {
    let file = job.file.clone();
    let digest = match tokio::task::spawn_blocking(move || digest_of(&file)).await {
        Ok(Ok(digest)) => digest,
        Ok(Err(error)) => return Outcome::Refused(format!("it cannot be read: {error}")),
        Err(error) => return Outcome::Failed(format!("the thread that read it failed: {error}")),
    };
    let url = server.url_of(&to.name, &job.path);
    let (mut pause, mut tries) = (FIRST_PAUSE, 1);
    loop {
        let there = if to.holds_what_it_shows { is_there(server, &url, &digest).await } else { Ok(None) };
        let tried = match there {
            Ok(None) => put(server, &url, job, &digest, progress).await,
            Ok(Some(outcome)) => Tried::Over(outcome),
            Err(why) => Tried::Again(why),
        };
        match tried {
            Tried::Over(outcome) => return outcome,
            Tried::Again(why) if tries == TRIES => return Outcome::Failed(format!("{why} (tried {TRIES} times)")),
            Tried::Again(_) => progress.begin_again(),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        tries += 1;
    }
}

fn digest_of(file: &Path) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(file)?;
    let mut hasher = Algorithm::Sha256.hasher();
    let mut buffer = vec![0; FRAME];
    loop {
        let length = file.read(&mut buffer)?;
        match buffer.get(..length) {
            None | Some([]) => return Ok(hasher.finish()),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

/// Whether the server has these bytes there, or says no before it has seen any; `None` if they have to be sent.
async fn is_there(server: &Server, url: &Url, digest: &Digest) -> Result<Option<Outcome>, String> {
    let asked = server.client().get(url.clone()).header(IF_NONE_MATCH, format!("\"{}\"", digest.hex()));
    // Of other bytes, one is enough.
    let answer = in_time(asked.header(RANGE, "bytes=0-0").send()).await?.map_err(|why| server.not_reached(why))?;
    match answer.status() {
        StatusCode::NOT_MODIFIED => Ok(Some(Outcome::Unchanged)),
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => Ok(Some(Outcome::Refused(refusal(answer).await))),
        status if passes(status) => Err(refusal(answer).await),
        // Nothing or other bytes are there, or the token may write and not read: the server will say.
        _ => Ok(None),
    }
}

async fn put(server: &Server, url: &Url, job: &Job, digest: &Digest, progress: &Progress) -> Tried {
    let file = match tokio::fs::File::open(&job.file).await {
        Ok(file) => file,
        Err(error) => return Tried::Over(Outcome::Refused(format!("it cannot be read: {error}"))),
    };
    let request = server
        .client()
        .put(url.clone())
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, job.size)
        .header("X-Checksum-Sha256", digest.hex())
        .body(frames(file, job.size, progress.clone()))
        .send();
    let answer = tokio::select! {
        answer = request => answer,
        () = silence(progress) => {
            let minutes = SILENCE.as_secs() / 60;
            return Tried::Again(format!("for {minutes} minutes the server took nothing and said nothing"));
        }
    };
    match answer {
        Ok(answer) => outcome(answer).await,
        Err(why) => Tried::Again(server.not_reached(why)),
    }
}

/// The file as a body of exactly that length.
fn frames(file: tokio::fs::File, size: u64, progress: Progress) -> Body {
    Body::wrap_stream(try_unfold(file.take(size), move |mut file| {
        let progress = progress.clone();
        async move {
            let mut frame = BytesMut::with_capacity(FRAME);
            let length = file.read_buf(&mut frame).await? as u64;
            progress.took(length);
            Ok::<_, std::io::Error>((length > 0).then(|| (frame.freeze(), file)))
        }
    }))
}

/// Ends when nothing has been taken for too long.
async fn silence(progress: &Progress) {
    let (mut last, mut since) = (0, tokio::time::Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let now = progress.sent();
        if now != last {
            (last, since) = (now, tokio::time::Instant::now());
        } else if since.elapsed() > SILENCE {
            return;
        }
    }
}

async fn outcome(answer: Response) -> Tried {
    let status = answer.status();
    if !status.is_success() {
        let why = refusal(answer).await;
        return if passes(status) { Tried::Again(why) } else { Tried::Over(Outcome::Refused(why)) };
    }
    let taken = match body(answer).await {
        Ok(bytes) => serde_json::from_slice::<Taken>(&bytes),
        Err(why) => return Tried::Again(why),
    };
    let word = taken.map(|taken| taken.result).unwrap_or_default();
    Tried::Over(match &*word {
        "created" => Outcome::Created,
        "replaced" => Outcome::Replaced,
        "unchanged" => Outcome::Unchanged,
        _ => Outcome::Failed(format!("the server answers {status}, and nothing of the file; is it artifactapi?")),
    })
}

/// Whether an answer is of the kind that a later one may be different from: a store or the server is away for a while.
fn passes(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}
