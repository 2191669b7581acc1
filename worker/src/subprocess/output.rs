//! What a command writes: read as it comes, told line by line, kept within bounds.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

use super::LineObserver;
use crate::runner::OutputBuffer;

/// Output kept of each stream, in bytes: its beginning and its end. The rest is read and dropped, so that the
/// command never blocks.
const KEPT_OUTPUT: usize = 1 << 20;

/// Longest line told at once, in bytes: a longer one comes in pieces.
const LONGEST_LINE: usize = 8 << 10;

/// Lines of output that an error carries.
const LAST_LINES: usize = 10;

/// How long what a command wrote is still read after its end. A daemon that it started keeps its pipes open
/// for ever; what was in them before the end is read in an instant.
const AFTER_THE_END: Duration = Duration::from_millis(200);

/// What programs print where a disk or a quota is exhausted: C, Python and Rust add nothing to the system's own
/// text but the number (28 is `ENOSPC`, 122 `EDQUOT`).
const DISK_FULL: [&str; 4] =
    ["no space left on device", "os error 28)", "disk quota exceeded", "os error 122)"];

/// What a command wrote.
#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// To standard output.
    pub stdout: String,
    /// To standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// The end of its standard error, or of its standard output if that is empty: up to ten lines.
    pub fn last_lines(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Whether it says that a disk is full.
    pub fn tells_of_full_disk(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().any(|text| {
            let text = text.to_ascii_lowercase();
            DISK_FULL.iter().any(|sign| text.contains(sign))
        })
    }
}

/// Reads a stream to its end, or until shortly after the command has ended.
pub(super) async fn read(mut stream: Receiver, ended: &CancellationToken, told: LineObserver<'_>) -> String {
    let mut buffer = OutputBuffer::new(KEPT_OUTPUT);
    let mut lines = Lines { unfinished: Vec::new(), told };
    let reading = async {
        let mut chunk = vec![0; 16 << 10];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            buffer.push(&chunk[..length]);
            lines.push(&chunk[..length]);
        }
    };
    let left_open = async {
        ended.cancelled().await;
        tokio::time::sleep(AFTER_THE_END).await;
    };
    // Dropping `reading` loses nothing: what was read is in the buffer before it waits again.
    tokio::select! {
        () = reading => {}
        () = left_open => {}
    }
    lines.finish();
    buffer.into_text()
}

/// Cuts a stream into lines. A carriage return ends one, too: progress bars write nothing else.
struct Lines<'a> {
    unfinished: Vec<u8>,
    told: LineObserver<'a>,
}

impl Lines<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") || self.unfinished.len() >= LONGEST_LINE {
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        let line = String::from_utf8_lossy(&self.unfinished);
        let line = line.trim_end();
        if !line.is_empty() {
            (self.told)(line);
        }
        self.unfinished.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let seen = Mutex::new(Vec::new());
        let told = |line: &str| seen.lock().unwrap().push(line.to_owned());
        let mut lines = Lines { unfinished: Vec::new(), told: &told };
        pieces.iter().for_each(|piece| lines.push(piece.as_bytes()));
        lines.finish();
        seen.into_inner().unwrap()
    }

    #[test]
    fn lines_are_told_whole_however_they_arrive() {
        assert_eq!(lines(&["a\nb", "c\n", "\n", "d"]), ["a", "bc", "d"]);
        assert_eq!(lines(&["10%\r", "20%\rdone\r\n"]), ["10%", "20%", "done"]);
        assert_eq!(lines(&[]), [""; 0]);
    }

    #[test]
    fn a_line_without_an_end_is_told_in_pieces() {
        let piece = "x".repeat(6000);
        let told = lines(&[&piece, &piece, &piece]);
        assert_eq!(told.iter().map(String::len).collect::<Vec<_>>(), [12000, 6000]);
    }

    #[test]
    fn a_full_disk_is_recognised_in_the_words_of_several_programs() {
        let says =
            |text: &str| CommandOutput { stderr: text.to_owned(), ..Default::default() }.tells_of_full_disk();
        assert!(says("OSError: [Errno 28] No space left on device: '/x'"));
        assert!(says("error: failed to write to file `/x/y`: No space left on device (os error 28)"));
        assert!(says(
            "dpkg: unrecoverable fatal error, aborting:\n unable to flush /x: No space left on device"
        ));
        assert!(says("cp: error writing 'x': Disk quota exceeded"));
        assert!(!says("error: No solution found (os error 2)"));
    }
}
