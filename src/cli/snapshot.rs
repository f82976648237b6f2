//! `artifactapi snapshot list|diff|tag|untag`: what `/snapshots/…` answers, at a terminal. Asks the catalog itself, beside a
//! running server or without one.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::app::open_snapshots;
use crate::calendar::rfc3339;
use crate::config::{Repositories, Repository, Settings};
use crate::engine::changes::Changes;
use crate::engine::generations::{Generations, When};
use crate::store::catalog::snapshots::{PackageChange, ROWS, Snapshot, Tag};

/// Snapshots listed unless it is said how many.
const LISTED: u32 = 20;

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(super) enum Snapshots {
    /// List the index roots of a repository, or the snapshots of one root, newest first.
    List {
        /// The repository.
        repository: String,
        /// The root: its entry file, or the folder it describes.
        root: Option<String>,
        /// How many.
        #[arg(long, default_value_t = LISTED, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROWS)))]
        limit: u32,
    },
    /// Show which packages were added, removed and changed between two snapshots of a root.
    Diff {
        /// The repository.
        repository: String,
        /// The root: its entry file, or the folder it describes.
        root: String,
        /// The earlier one: a date, a time, a number or a tag.
        from: When,
        /// The later one; the newest if left out.
        to: Option<When>,
    },
    /// Give a snapshot a name. It is kept for as long as it has one.
    Tag {
        /// The repository.
        repository: String,
        /// The root: its entry file, or the folder it describes.
        root: String,
        /// The name.
        tag: Tag,
        /// Which snapshot: a date, a time, a number or a tag; the newest if left out.
        snapshot: Option<When>,
    },
    /// Take a name away.
    Untag {
        /// The repository.
        repository: String,
        /// The root: its entry file, or the folder it describes.
        root: String,
        /// The name.
        tag: Tag,
    },
}

pub(super) fn run(settings: &Settings, what: Snapshots) -> ExitCode {
    super::answer(settings, async |repositories| text(settings, repositories, what).await)
}

async fn text(
    settings: &Settings,
    repositories: &Repositories,
    what: Snapshots,
) -> Result<String, Box<dyn std::error::Error>> {
    let generations = Generations::new(open_snapshots(settings).await?);
    let snapshots = generations.snapshots();
    let newest = || When::At(std::time::SystemTime::now());
    let mut text = String::new();
    match what {
        Snapshots::List { repository, root: None, limit } => {
            for root in snapshots.roots(&named(repositories, &repository)?.name, None, limit).await? {
                writeln!(text, "{}", root.path)?;
            }
        }
        Snapshots::List { repository, root: Some(root), limit } => {
            let root = generations.root_named(named(repositories, &repository)?, &root).await?;
            for snapshot in snapshots.snapshots(&root, None, limit).await? {
                text.push_str(&line(&snapshot));
            }
        }
        Snapshots::Diff { repository, root, from, to } => {
            let root = generations.root_named(named(repositories, &repository)?, &root).await?;
            let from = generations.find(&root, &from).await?.id;
            let to = generations.find(&root, &to.unwrap_or_else(newest)).await?.id;
            let mut changes = Changes::between(&**snapshots, from, to);
            while let Some(page) = changes.page().await? {
                for PackageChange { from, to } in &page {
                    let (sign, package, versions) = match (from, to) {
                        (None, Some(to)) => ('+', to, to.version.clone()),
                        (Some(from), None) => ('-', from, from.version.clone()),
                        (Some(from), Some(to)) => ('~', to, format!("{} -> {}", from.version, to.version)),
                        (None, None) => continue,
                    };
                    writeln!(text, "{sign} {} {versions} {} {}", package.name, package.arch, package.path)?;
                }
            }
        }
        Snapshots::Tag { repository, root, tag, snapshot } => {
            let root = generations.root_named(named(repositories, &repository)?, &root).await?;
            let snapshot = generations.find(&root, &snapshot.unwrap_or_else(newest)).await?;
            if !snapshots.tag(snapshot.id, &tag).await? {
                return Err("the snapshot went away while it was being tagged".into());
            }
            writeln!(text, "{tag} is snapshot {} of {}", snapshot.id.0, root)?;
        }
        Snapshots::Untag { repository, root, tag } => {
            let root = generations.root_named(named(repositories, &repository)?, &root).await?;
            if !snapshots.untag(&root, &tag).await? {
                return Err(format!("no snapshot of {root} has the tag {tag}").into());
            }
        }
    }
    Ok(text)
}

fn named<'r>(repositories: &'r Repositories, name: &str) -> Result<&'r Repository, String> {
    let found = repositories.get(name).map(|repository| &**repository);
    found.ok_or_else(|| format!("there is no repository {name:?} in the configuration"))
}

fn line(snapshot: &Snapshot) -> String {
    let tags: Vec<&str> = snapshot.tags.iter().map(Tag::as_str).collect();
    let made_at = snapshot.made_at.map_or_else(|| "-".to_owned(), rfc3339);
    format!(
        "{}\t{}\tmade {made_at}\t{} packages\t{}\t{}\n",
        snapshot.id.0,
        rfc3339(snapshot.published_at),
        snapshot.packages,
        if snapshot.source.is_empty() { "here" } else { &snapshot.source },
        tags.join(",")
    )
}
