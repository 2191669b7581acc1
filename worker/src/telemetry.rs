//! The worker's own log.
//!
//! For a person: lines on standard error. On the platform: JSON lines `{"requestId", "message", "level"}` on
//! standard output, the form its log viewer reads (contract 2.11).

use std::fmt::{self, Write};
use std::io::IsTerminal;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging events at `level` and above, such as `info` or `farcall=debug`.
pub fn start(level: &str, as_json: bool) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    if as_json {
        lines.event_format(PlatformLines).with_writer(std::io::stdout).init();
        return Ok(());
    }
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = std::io::stderr().is_terminal() && !unwanted;
    lines.with_timer(uptime()).with_target(false).with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

/// The platform's log lines.
struct PlatformLines;

impl<S, N> FormatEvent<S, N> for PlatformLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        let message = fields.message + &fields.others;
        writeln!(writer, "{}", json!({"requestId": fields.job, "message": message, "level": level}))
    }
}

#[derive(Default)]
struct Fields {
    job: Option<String>,
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "job" => self.job = Some(value.to_owned()),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}
