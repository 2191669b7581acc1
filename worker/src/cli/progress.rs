//! A line that tells what is being waited for, on a terminal: packages that are being installed.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::runner::{Event, Follower};

/// Time between two drawings of the line.
const PERIOD: Duration = Duration::from_millis(100);

/// Shown one after another.
const FRAMES: [char; 4] = ['⠋', '⠙', '⠴', '⠦'];

/// Longest text of the line, in characters: a line that wraps cannot be drawn over.
const LONGEST: usize = 70;

/// Events that may wait to be shown.
const WAITING_EVENTS: usize = 16;

/// The line of one job. It is gone when this is.
#[derive(Debug)]
pub(super) struct ProgressLine {
    drawing: JoinHandle<()>,
}

impl ProgressLine {
    /// A line, and who has to be told what happens; nothing where standard error is no terminal.
    pub(super) fn begin() -> Option<(Self, Follower)> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (events, received) = mpsc::channel(WAITING_EVENTS);
        Some((Self { drawing: tokio::spawn(draw(received)) }, Follower { events, wants_output: false }))
    }

    /// Removes the line, once nobody can tell anything any more.
    pub(super) async fn end(self) {
        let _ = self.drawing.await;
    }
}

async fn draw(mut events: mpsc::Receiver<Event>) {
    let mut shown: Option<(String, Instant)> = None;
    for frame in FRAMES.into_iter().cycle() {
        let event = tokio::time::timeout(PERIOD, events.recv()).await;
        match event {
            Ok(None) => break,
            Ok(Some(Event::Notice(line))) => {
                shown = Some((line.trim_end().chars().take(LONGEST).collect(), Instant::now()));
            }
            Ok(Some(_)) | Err(_) => {}
        }
        if let Some((text, since)) = &shown {
            write(&format!("\r\x1b[K{frame} {text} ({:.0} s)", since.elapsed().as_secs_f32()));
        }
    }
    if shown.is_some() {
        write("\r\x1b[K");
    }
}

fn write(text: &str) {
    let mut terminal = io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}
