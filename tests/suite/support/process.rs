//! Programs: those that run to their end, and those that run in the background until the test is over.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::sync::watch;

use super::{PATIENCE, within};

/// A command with nothing of the caller's environment: proxy variables would be obeyed.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", "/root");
    command.stdin(Stdio::null());
    command
}

/// What a program that ran to its end said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

impl Finished {
    /// Fails unless it succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert!(self.status.success(), "{}: {}\n{}", self.command, self.status, self.output);
        self.output
    }

    /// Fails unless it failed, saying `why`.
    #[track_caller]
    pub(crate) fn failed_with(self, why: &str) {
        assert!(!self.status.success(), "{}: succeeded\n{}", self.command, self.output);
        assert!(self.output.contains(why), "{}: does not say {why:?}\n{}", self.command, self.output);
    }
}

/// Runs a program to its end; standard output and error come together.
pub(crate) async fn run(command: Command) -> Finished {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("does not end: {shown}"));
    let output = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Finished { command: shown, status: output.status, output: text }
}

/// A program in the background. Killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// What a program printed so far, standard output and error together.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    all: Arc<Mutex<Vec<String>>>,
    /// How many sources have ended, and a count that changes with every line.
    progress: watch::Sender<(usize, usize)>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { all: Arc::default(), progress: watch::Sender::new((0, 0)) }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.all.lock().expect("lines").clone()
    }

    fn read(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines.all.lock().expect("lines").push(String::from_utf8_lossy(&line).into_owned());
                lines.progress.send_modify(|(_, count)| *count += 1);
            }
            lines.progress.send_modify(|(ended, _)| *ended += 1);
        })
    }

    /// The first line from number `from` on that `pick` takes; `None` when the program has ended without one.
    pub(crate) async fn find<T>(&self, from: usize, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut progress = self.progress.subscribe();
        loop {
            let (ended, _) = *progress.borrow_and_update();
            if let Some(found) = self.all.lock().expect("lines").iter().skip(from).find_map(|line| pick(line)) {
                return Some(found);
            }
            if ended == 2 {
                return None;
            }
            progress.changed().await.expect("the sender is ours");
        }
    }
}

impl Process {
    pub(crate) fn spawn(name: &str, mut command: Command) -> Self {
        let lines = Lines::new();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let readers = vec![
            lines.read(child.stdout.take().expect("its standard output")),
            lines.read(child.stderr.take().expect("its standard error")),
        ];
        Self { name: name.to_owned(), child, status: None, lines, readers }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status.is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_running() {
            kill_process(Pid::from_child(&self.child), signal).expect("a signal to a child");
        }
    }

    /// Waits for it to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within(format!("the end of {}", self.name), self.lines.find(usize::MAX, |_| Some(()))).await;
        let status = self.child.wait().expect("its exit status");
        self.status = Some(status);
        status
    }

    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }
}

impl Process {
    /// Kills it and reads what is left of its lines, without waiting for anything else.
    pub(crate) fn end(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let lines = self.lines.all();
            let skipped = lines.len().saturating_sub(150);
            eprintln!("--- {} ({skipped} lines before)", self.name);
            lines.iter().skip(skipped).for_each(|line| eprintln!("{line}"));
        }
    }
}
