//! What is so at this moment, looked up when the metrics are asked for.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::totals::Holdings;
use crate::config::LiveRepositories;
use crate::engine::distrust::{Distrust, asks_who_signed};
use crate::engine::fills::Fills;
use crate::engine::shelf::Shelf;
use crate::frames;
use crate::http::serve;

/// The parts that are looked at.
#[allow(missing_docs, reason = "the types say it")]
pub struct Gauges {
    pub fills: Arc<Fills>,
    pub shelf: Arc<Shelf>,
    pub holdings: Arc<Holdings>,
    pub distrust: Arc<Distrust>,
    pub repositories: Arc<LiveRepositories>,
}

impl Gauges {
    /// Where totals are remembered.
    pub(super) fn holdings(&self) -> Arc<Holdings> {
        Arc::clone(&self.holdings)
    }
}

impl Gauges {
    /// Of every repository that asks who signed, so that what watches it sees the zero, too.
    fn untrusted_roots(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let repositories = self.repositories.current();
        let roots = self.distrust.roots(&repositories);
        let help = "Index roots whose latest index no trusted key signed, by repository";
        let mut family = encoder.encode_descriptor("untrusted_roots", help, None, MetricType::Gauge)?;
        for repository in repositories.iter().filter(|repository| asks_who_signed(repository)) {
            let count = roots.iter().filter(|one| one.repository.name == repository.name).count() as u64;
            let labels = [("repository", repository.name.as_str())];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (shelf_bytes, shelf_entries) = self.shelf.fullness();
        let gauges = [
            ("fills_running", "Transfers from upstream that run now", self.fills.count() as u64),
            ("shelf_bytes", "What the shelf of opened files counts against its budget, in bytes", shelf_bytes),
            ("shelf_entries", "Entries on the shelf of opened files", shelf_entries as u64),
            ("connections", "Open connections of clients", serve::open_connections() as u64),
            ("readers", "Files being sent to clients", frames::readers() as u64),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        self.untrusted_roots(&mut encoder)?;
        let totals = self.holdings.known();
        let held =
            |encoder: &mut DescriptorEncoder<'_>, name, help, value: fn(&crate::store::catalog::Totals) -> u64| {
                let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                for (repository, totals) in &totals {
                    let labels = [("repository", repository.as_str())];
                    ConstGauge::new(value(totals)).encode(family.encode_family(&labels)?)?;
                }
                Ok::<_, std::fmt::Error>(())
            };
        held(&mut encoder, "held_artifacts", "Artifacts held, by repository", |totals| totals.artifacts)?;
        held(&mut encoder, "held_bytes", "Bytes held, by repository", |totals| totals.bytes)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

/// The process itself.
#[derive(Debug)]
pub(super) struct Process {
    started: SystemTime,
}

impl Process {
    pub(super) fn starting_now() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let uptime = self.started.elapsed().unwrap_or_default().as_secs();
        gauge(&mut encoder, "process_start_time_seconds", "When the process started, in seconds since 1970", started)?;
        gauge(&mut encoder, "process_uptime_seconds", "How long the process has run, in seconds", uptime)?;
        // A system without /proc has no such gauges.
        if let Some(bytes) = resident_bytes() {
            gauge(&mut encoder, "process_resident_memory_bytes", "Memory of the process that is resident", bytes)?;
        }
        if let Some(count) = open_descriptors() {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors of the process", count)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn open_descriptors() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One of them is that of the folder being read.
    Some(entries.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_process() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::starting_now()));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        for name in [
            "process_start_time_seconds 1",
            "process_uptime_seconds 0",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name}\n{text}");
        }
    }
}
