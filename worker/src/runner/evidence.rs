//! What is known about a runner's end, or about where it hangs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use farcall_protocol::frame::STACKS_FILE;
use rustix::process::Signal;

use crate::process::Process;

/// Asks a runner for the Python stacks of its threads. Nothing else sends it.
const DUMP: Signal = Signal::STKFLT;

/// How long a runner may take to write its stacks. It does so in a signal handler, without the interpreter;
/// only a process the kernel does not let run takes longer.
const DUMP_TIME: Duration = Duration::from_millis(250);

/// Stacks kept, in bytes.
const MOST_STACKS: u64 = 64 << 10;

/// The stacks a runner has written so far.
#[derive(Debug)]
pub(super) struct Evidence {
    file: PathBuf,
    seen: u64,
}

impl Evidence {
    pub(super) fn new(scratch: &Path) -> Self {
        Self { file: scratch.join(STACKS_FILE), seen: 0 }
    }

    /// The Python stacks of a running process's threads, or nothing if it cannot tell.
    pub(super) async fn ask(&mut self, process: &Process) -> String {
        process.signal(DUMP);
        let mut stacks = String::new();
        let step = Duration::from_millis(5);
        for _ in 0..DUMP_TIME.as_millis() / step.as_millis() {
            tokio::time::sleep(step).await;
            let more = self.take();
            if more.is_empty() && !stacks.is_empty() {
                break; // it has written something, and then nothing more
            }
            stacks.push_str(&more);
        }
        stacks
    }

    /// The stacks written since the last time.
    pub(super) fn take(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.file).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.seen))?;
            file.take(MOST_STACKS).read_to_end(&mut bytes)
        });
        self.seen += read.unwrap_or(0) as u64;
        // The outermost frame is the line of ours that became the runner.
        String::from_utf8_lossy(&bytes).replace("  File \"<string>\", line 1 in <module>\n", "")
    }
}
