//! Child processes and what becomes of them: the one place that waits.
//!
//! A task reaps every child of this process, tells whoever started it how it ended, and kills the process group
//! it led before its id can be used again, and what has left that group. The supervisor is a child subreaper (and may be PID 1): what user
//! code left behind is adopted, and reaped here as well, so there are no zombies.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use farcall_reap::Exit;
use farcall_reap::leftovers;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{debug, trace, warn};

/// Ends of processes nobody has asked for yet that are remembered: a forked runner can end before the
/// template has told who it is.
const UNCLAIMED: usize = 256;

/// How long they are remembered: process ids come round again.
const REMEMBERED: Duration = Duration::from_secs(10);

/// A process this one waits for, leader of its own group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    exit: watch::Receiver<Option<Exit>>,
}

#[derive(Debug, Default)]
struct Registry {
    waited_for: HashMap<Pid, Waited>,
    unclaimed: VecDeque<(Pid, Exit, Instant)>,
}

#[derive(Debug)]
struct Waited {
    exit: watch::Sender<Option<Exit>>,
    /// Processes that know of it are the process's own.
    directory: Option<PathBuf>,
}

static REGISTRY: OnceLock<Arc<Mutex<Registry>>> = OnceLock::new();

impl Process {
    /// Starts a command as the leader of a process group of its own.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;

        let registry = registry()?;
        // Held from before the process exists until it is registered: it cannot be reaped unseen.
        let mut registry = lock(registry);
        let child = command.process_group(0).spawn()?;
        Ok(registry.wait_for(Pid::from_child(&child), None))
    }

    /// Takes charge of a process that was or is about to be reparented to this one.
    pub fn adopt(pid: Pid) -> io::Result<Self> {
        let mut registry = lock(registry()?);
        let ended = registry.claim(pid);
        Ok(registry.wait_for(pid, ended))
    }

    /// Has everything killed at its end that belongs to `directory`, besides the group it leads.
    pub fn own(&self, directory: &Path) -> io::Result<()> {
        if let Some(waited) = lock(registry()?).waited_for.get_mut(&self.pid) {
            waited.directory = Some(directory.to_owned());
        }
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end. Cancel-safe, and may be called again after the end.
    pub async fn wait(&mut self) -> Option<Exit> {
        // An error means that the reaper is gone, which happens at the end of this program only.
        self.exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
    }

    /// Its end, if it has come.
    pub fn ended(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Sends a signal to the process and everything in its group.
    pub fn signal_group(&self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    /// Nothing is left running that nobody waits for.
    fn drop(&mut self) {
        self.signal_group(Signal::KILL);
    }
}

impl Registry {
    fn wait_for(&mut self, pid: Pid, ended: Option<Exit>) -> Process {
        let (sender, exit) = watch::channel(ended);
        if ended.is_none() {
            self.waited_for.insert(pid, Waited { exit: sender, directory: None });
        }
        Process { pid, exit }
    }

    fn claim(&mut self, pid: Pid) -> Option<Exit> {
        self.unclaimed.retain(|(_, _, when)| when.elapsed() < REMEMBERED);
        let index = self.unclaimed.iter().position(|(ended, ..)| *ended == pid)?;
        self.unclaimed.remove(index).map(|(_, exit, _)| exit)
    }

    fn reap_all(&mut self) -> io::Result<()> {
        while let Some(pid) = farcall_reap::next_ended()? {
            let waited_for = self.waited_for.remove(&pid);
            if waited_for.is_some() {
                // Its group's id is still its own: this cannot hit anybody else.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let exit = farcall_reap::reap(pid)?;
            trace!(pid = pid.as_raw_nonzero().get(), status = %exit.status, "process ended");
            if let Some(Waited { exit: sender, directory }) = waited_for {
                if let Some(directory) = directory {
                    self.kill_leftovers(&directory);
                }
                sender.send_replace(Some(exit));
            } else {
                self.unclaimed.truncate(UNCLAIMED - 1);
                self.unclaimed.push_front((pid, exit, Instant::now()));
            }
        }
        Ok(())
    }
}

impl Registry {
    /// What the ended process had started outside its group is a child of ours by now.
    fn kill_leftovers(&self, directory: &Path) {
        let adopted = || {
            let mut children = leftovers::children();
            children.retain(|child| !self.waited_for.contains_key(child));
            children
        };
        let killed = leftovers::kill(directory, adopted);
        if killed > 0 {
            debug!(killed, "processes that outlived their runner killed");
        }
    }
}

/// The registry; the first call starts the task that reaps.
fn registry() -> io::Result<&'static Arc<Mutex<Registry>>> {
    if let Some(registry) = REGISTRY.get() {
        return Ok(registry);
    }
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        warn!(%error, "cannot adopt what user code leaves behind");
    }
    let mut ended = signal(SignalKind::child())?;
    let registry = REGISTRY.get_or_init(Arc::default);
    tokio::spawn(async move {
        loop {
            if let Err(error) = lock(registry).reap_all() {
                warn!(%error, "cannot wait for child processes");
            }
            if ended.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(registry)
}

fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
