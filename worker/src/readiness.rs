//! Whether the worker of this machine or container is ready, for whoever looks after it: a container's health check.
//!
//! Every worker that serves answers on a socket in the directory for temporary files, whatever its mode: one word,
//! its [`State`], and the connection closes. So an answer proves that it lives, no port has to be known, and
//! nothing is read that a worker before it has left.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tracing::warn;

const PREFIX: &str = "farcall-ready-";

/// A worker answers from memory: one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket that nobody listens on for so long was left behind.
const OLD: Duration = Duration::from_mins(1);

/// Pause after a failed accept, which usually means that descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It takes jobs.
    Ready,
    /// It has no runner yet, or has not looked at the machine yet.
    Starting,
    /// It takes no more jobs, and ends.
    Stopping,
    /// Its runners cannot be kept alive.
    Unhealthy,
}

impl State {
    const ALL: [Self; 4] = [Self::Ready, Self::Starting, Self::Stopping, Self::Unhealthy];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// What it means, in a sentence's middle.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ready => "is ready",
            Self::Starting => "is still starting: no runner is there yet",
            Self::Stopping => "was told to stop and takes no more jobs",
            Self::Unhealthy => "cannot keep runners alive: its log says why",
        }
    }
}

impl FromStr for State {
    type Err = io::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let state = Self::ALL.into_iter().find(|state| state.word() == word);
        state.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("it says `{word}`")))
    }
}

/// Answers for this process while it lives.
#[derive(Debug)]
pub(crate) struct Answering {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Answering {
    /// Answers with what `state` returns. A worker whose socket cannot be made works all the same.
    pub(crate) fn start(state: impl Fn() -> State + Send + 'static) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        // Left by a process that was killed: process 1 of a container that is started again has the same number.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).inspect_err(
            |error| warn!(path = %path.display(), %error, "`farcall doctor --ready` cannot ask this worker"),
        );
        let task = tokio::spawn(answer(listener.ok()?, state));
        Some(Self { path, task })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
        for (_, path) in sockets().into_iter().filter(|(_, path)| is_left_behind(path)) {
            let _ = fs::remove_file(path);
        }
    }
}

async fn answer(listener: UnixListener, state: impl Fn() -> State) {
    loop {
        match listener.accept().await {
            // Far less than a socket buffer, which is empty: whoever does not read it is not waited for.
            Ok((stream, _)) => {
                let _ = stream.writable().await;
                let _ = stream.try_write(state().word().as_bytes());
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A worker that was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its process id.
    pub(crate) process: u32,
    /// How it is doing; an error if it does not tell.
    pub(crate) state: io::Result<State>,
}

/// Asks all workers that there are. Those of other users do not count, unless this is root.
pub(crate) fn ask_all() -> Vec<Asked> {
    let mut workers: Vec<Asked> = sockets()
        .into_iter()
        .filter_map(|(process, path)| match ask(&path) {
            // Nobody listens: what is left of one that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
            state => Some(Asked { process, state }),
        })
        .collect();
    workers.sort_by_key(|asked| asked.process);
    workers
}

/// The sockets of this user's workers, of all if this is root, each with its worker's process id.
fn sockets() -> Vec<(u32, PathBuf)> {
    let user = rustix::process::geteuid();
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let sockets = entries.filter_map(|entry| {
        let process = entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
        let metadata = entry.metadata().ok()?;
        let is_ours = user.is_root() || metadata.uid() == user.as_raw();
        (is_ours && metadata.file_type().is_socket()).then(|| (process, entry.path()))
    });
    sockets.collect()
}

/// Whether the worker that made it was killed. One that has just been made may not be listened on yet.
fn is_left_behind(path: &Path) -> bool {
    let age = path.metadata().and_then(|metadata| metadata.modified()).map(|made| made.elapsed());
    let is_old = matches!(age, Ok(Ok(age)) if age > OLD);
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_old && net::UnixStream::connect(path).is_err_and(refused)
}

fn ask(path: &Path) -> io::Result<State> {
    let stream = net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut word = String::new();
    stream.take(64).read_to_string(&mut word)?; // no word is longer
    word.parse()
}
