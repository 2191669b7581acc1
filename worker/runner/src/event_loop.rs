//! The one asyncio event loop of a runner.
//!
//! It lives as long as the runner, so that clients and tasks a class instance keeps stay usable between
//! calls. asyncio is imported when the first awaitable appears: it costs more than the rest of a cold call.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::python::helpers;

/// A lazily made event loop.
#[derive(Debug, Default)]
pub(crate) struct EventLoop {
    current: Option<Py<PyAny>>,
}

impl EventLoop {
    /// Runs an awaitable to its end on the calling thread. If it is interrupted, `tell` is told where it waited.
    pub(crate) fn run<'py>(
        &mut self,
        awaitable: &Bound<'py, PyAny>,
        tell: impl FnOnce(String),
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = awaitable.py();
        let event_loop = self.get(py)?;
        let options = PyDict::new(py);
        options.set_item("loop", &event_loop)?;
        let task = py.import("asyncio")?.call_method("ensure_future", (awaitable,), Some(&options))?;
        let result = event_loop.call_method1("run_until_complete", (&task,));
        if result.is_err() && !task.call_method0("done")?.is_truthy()? {
            if let Ok(stack) = stack(&task) {
                tell(stack);
            }
            // Interrupted from outside: the task must not go on with the next call.
            task.call_method0("cancel")?;
            let _ = event_loop.call_method1("run_until_complete", (&task,));
        }
        result
    }

    fn get<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(event_loop) = &self.current {
            let event_loop = event_loop.bind(py);
            if !event_loop.call_method0("is_closed")?.is_truthy()? {
                return Ok(event_loop.clone());
            }
        }
        let asyncio = py.import("asyncio")?;
        let event_loop = asyncio.call_method0("new_event_loop")?;
        asyncio.call_method1("set_event_loop", (&event_loop,))?;
        self.current = Some(event_loop.clone().unbind());
        Ok(event_loop)
    }
}

/// Where a task waits.
pub(crate) fn stack(task: &Bound<'_, PyAny>) -> PyResult<String> {
    helpers(task.py())?.call_method1("task_stack", (task,))?.extract()
}
