//! What went wrong, as text for the client.

mod missing_module;

use farcall_protocol::FunctionRequest;
use farcall_protocol::frame::Outcome;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyTraceback;

use crate::python::{HELPERS_FILE, helpers};
use crate::source::without_module_names;

/// Longest error text sent, in bytes: a traceback of a thousand frames is under it.
const LONGEST_ERROR: usize = 256 << 10;

/// A failed invocation: how it failed, and the text that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) error: String,
    /// The exception as a JSON object.
    pub(crate) exception: Option<String>,
}

/// How the client of a request wants to be told of an exception.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// The traceback alone, as the 2.x runtime wrote it; else the message first, as the 1.x worker did.
    bare: bool,
    /// As an object, too, from which the client makes the exception again.
    described: bool,
}

impl Style {
    /// As `request` asks.
    pub(crate) fn of(request: &FunctionRequest<'_>) -> Self {
        Self { bare: request.wants_bare_traceback(), described: request.farcall.failure }
    }
}

impl Failure {
    pub(crate) fn new(outcome: Outcome, error: impl Into<String>) -> Self {
        Self { outcome, error: error.into(), exception: None }
    }

    /// The request is wrong.
    #[expect(clippy::needless_pass_by_value, reason = "it ends in `map_err`, which passes values")]
    pub(crate) fn rejected(error: impl ToString) -> Self {
        Self::new(Outcome::Rejected, error.to_string())
    }

    /// The result cannot be sent.
    pub(crate) fn unserializable(error: impl Into<String>) -> Self {
        Self::new(Outcome::Unserializable, shorten(error.into()))
    }

    /// The call ended with an exception: the user's, or ours for a chunk that could not be sent.
    pub(crate) fn of_call(py: Python<'_>, error: &PyErr, style: Style) -> Self {
        if error.is_instance_of::<NotSent>(py) {
            return Self::unserializable(message(py, error));
        }
        Self::raised(py, error, style)
    }

    /// User code raised.
    pub(crate) fn raised(py: Python<'_>, error: &PyErr, style: Style) -> Self {
        let traceback = traceback(py, error);
        let text = if style.bare { traceback } else { format!("{}\n{traceback}", message(py, error)) };
        let mut error_text = shorten(text);
        if let Some(hint) = missing_module::hint(py, error) {
            error_text = format!("{error_text}\n{hint}");
        }
        let exception = style.described.then(|| describe(py, error)).flatten();
        Self { outcome: Outcome::Raised, error: error_text, exception }
    }
}

pyo3::create_exception!(farcall, NotSent, pyo3::exceptions::PyException, "A chunk could not be sent.");

/// One line that says what was raised: `str(exception)`, or its type where that is empty or fails.
pub(crate) fn message(py: Python<'_>, error: &PyErr) -> String {
    let value = error.value(py);
    let kind = || {
        without_module_names(
            &value
                .get_type()
                .fully_qualified_name()
                .map_or_else(|_| "exception".to_owned(), |name| name.to_string()),
        )
    };
    let text = match value.str() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => return format!("{} (its __str__ failed)", kind()),
    };
    if error.is_instance_of::<PySystemExit>(py) {
        return format!("the code called sys.exit({text}), which ends the call, not the worker");
    }
    if text.is_empty() { kind() } else { text }
}

/// `Type: message`, without the frames.
pub(crate) fn summary(py: Python<'_>, error: &PyErr) -> String {
    let kind = error.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string());
    let message = message(py, error);
    if message == kind { kind } else { format!("{kind}: {message}") }
}

/// The traceback as Python prints it: causes, notes, groups and source lines included, user frames only.
fn traceback(py: Python<'_>, error: &PyErr) -> String {
    trim_event_loop_frames(py, error);
    let format = || -> PyResult<String> {
        let lines = py.import("traceback")?.call_method1("format_exception", (error.value(py),))?;
        let text = pyo3::types::PyString::new(py, "").call_method1("join", (lines,))?;
        Ok(text.str()?.to_string_lossy().into_owned())
    };
    let text = format()
        .unwrap_or_else(|_| format!("{}\n(the traceback could not be formatted)", summary(py, error)));
    without_module_names(text.trim_end())
}

/// The exception as JSON, unless it resists; the text says what there is to say then.
fn describe(py: Python<'_>, error: &PyErr) -> Option<String> {
    let described = helpers(py).and_then(|helpers| helpers.call_method1("describe", (error.value(py),)));
    described.and_then(|json| json.extract()).ok()
}

/// Drops the event loop's own frames, and ours, in front of the user's: whoever wrote an async function did not write
/// `run_until_complete`.
fn trim_event_loop_frames(py: Python<'_>, error: &PyErr) {
    let mut current = error.traceback(py).map(Bound::into_any);
    while let Some(traceback) = current {
        let file = (|| {
            traceback.getattr("tb_frame")?.getattr("f_code")?.getattr("co_filename")?.extract::<String>()
        })();
        if !file.is_ok_and(|file| file.contains("/asyncio/") || file == HELPERS_FILE) {
            let user_frames = traceback.cast_into::<PyTraceback>().ok();
            let _ = error.value(py).setattr("__traceback__", user_frames);
            return;
        }
        current = traceback.getattr("tb_next").ok().filter(|next| !next.is_none());
    }
}

/// Cuts the middle out of a text that is too long to be read or sent.
fn shorten(text: String) -> String {
    if text.len() <= LONGEST_ERROR {
        return text;
    }
    let half = LONGEST_ERROR / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}\n... {} bytes left out ...\n{}", &text[..head], tail - head, &text[tail..])
}
