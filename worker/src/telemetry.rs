//! The worker's own log: lines for a person on a terminal, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::uptime;

/// Starts logging events at `level` and above, such as `info` or `farcall=debug`.
///
/// # Errors
/// A level that cannot be read is returned as the text to show.
pub fn start(level: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(uptime())
        .with_target(false)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
