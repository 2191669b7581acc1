//! Writing for people: marks, colours where they are wanted, and standard output that may be closed.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// How to write to this process's standard streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    colours: bool,
}

/// A meaning that colours express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Warning,
    Faint,
}

impl Terminal {
    /// Colours only on a terminal, and not where `NO_COLOR` is set to anything.
    pub(super) fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: io::stdout().is_terminal() && !unwanted }
    }

    /// `text` in the colour of `tone`.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Warning => 33,
            Tone::Faint => 2,
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes a line to standard output at once. A reader that has gone away is none of our business.
    #[expect(clippy::unused_self, reason = "all output goes through the terminal")]
    pub(super) fn line(self, text: &str) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Says on standard error why the program ends.
    #[expect(clippy::unused_self, reason = "all output goes through the terminal")]
    pub(super) fn fail(self, code: u8, text: &str) -> ExitCode {
        let _ = writeln!(io::stderr().lock(), "farcall: {text}");
        code.into()
    }
}

/// `text` with every line indented.
pub(super) fn indent(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}
