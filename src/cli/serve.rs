//! `artifactapi serve`: configuration, log, runtime, signals.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::EXIT_CONFIGURATION;
use crate::app::App;
use crate::config::watch::{self, Pace};
use crate::config::{LogFormat, LogSettings, Settings, Source, unknown_variables};

pub(super) fn run(settings: &Settings) -> ExitCode {
    log_to_stderr(&settings.log);
    for remark in &settings.remarks {
        tracing::warn!("{remark}");
    }
    let source = match super::source(settings, None) {
        Ok(source) => source,
        Err(error) => return refuse(&error),
    };
    // A file that cannot be read is told of when it is read for what is in it.
    let named_there = std::fs::read_to_string(source.file()).unwrap_or_default();
    for remark in unknown_variables(&named_there) {
        tracing::warn!("{remark}");
    }
    let settings = &settings.with_defaults(source.file());
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("artifactapi: the runtime cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(settings, source));
    // Fills that still run are dropped with the runtime; their spools are removed when the folder is opened next.
    runtime.shutdown_background();
    code
}

async fn serve(settings: &Settings, source: Source) -> ExitCode {
    // First of all: a process that is the first of its container is sent no signal that it does not listen for.
    let told = match Told::listen() {
        Ok(told) => told,
        Err(error) => {
            eprintln!("artifactapi: signals cannot be listened for: {error}");
            return ExitCode::FAILURE;
        }
    };
    let stop_watching = CancellationToken::new();
    let (repositories, _) = match watch::start(source, Pace::default(), stop_watching.clone()) {
        Ok(watched) => watched,
        Err(error) => return refuse(&error),
    };
    let started = tokio::select! {
        started = App::start(settings, Arc::clone(&repositories)) => started,
        () = told.to_stop.cancelled() => {
            tracing::info!("stopped before it had started");
            return ExitCode::SUCCESS;
        }
    };
    let app = match started {
        Ok(app) => app,
        Err(error) => {
            eprintln!("artifactapi: {error}");
            return ExitCode::FAILURE;
        }
    };
    match app.address() {
        Ok(addr) => tracing::info!(%addr, version = env!("CARGO_PKG_VERSION"), "listening"),
        Err(error) => tracing::warn!(%error, "listening, at an address that cannot be told"),
    }
    app.run(told.to_stop.cancelled(), told.again.clone()).await;
    stop_watching.cancel();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// What signals say. They are heard from the moment that this is made.
struct Told {
    to_stop: CancellationToken,
    /// To stop, a second time: whoever says so does not want to wait.
    again: CancellationToken,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told = Self { to_stop: CancellationToken::new(), again: CancellationToken::new() };
        let saying = [told.to_stop.clone(), told.again.clone()];
        tokio::spawn(async move {
            for say in saying {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                say.cancel();
            }
        });
        Ok(told)
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("artifactapi: {error}");
    ExitCode::from(EXIT_CONFIGURATION)
}

fn log_to_stderr(settings: &LogSettings) {
    let filter = settings.filter.as_deref().unwrap_or(Settings::LOG);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("artifactapi: RUST_LOG is not understood ({error}); using {:?}", Settings::LOG);
        EnvFilter::new(Settings::LOG)
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let shown = filter_fn(|about| !shows_keys(about.target()));
    match settings.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).finish().with(shown).init(),
        LogFormat::Json => log.json().flatten_event(true).finish().with(shown).init(),
    }
}

/// Whether what logs there writes out keys: rPGP shows the rest of a packet that it is about to read, secret numbers and all. It is never
/// heard, whatever `RUST_LOG` asks for.
fn shows_keys(target: &str) -> bool {
    target == "pgp" || target.starts_with("pgp::")
}

/// Each connection and each open file on the shelf takes a descriptor; the soft limit is often a mere 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
