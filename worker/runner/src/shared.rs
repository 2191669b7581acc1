//! A shared runner: many invocations of asynchronous code on one event loop.
//!
//! The loop watches the channel. Each invocation is a task with its own context, which says whose output it
//! prints; synchronous parts (the source's module level, unpickling) run between tasks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use farcall_protocol::frame::{Encoding, FromRunner, Invoke, Outcome, ToRunner};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use crate::channel::{Channel, Frame};
use crate::event_loop;
use crate::failure::{Failure, Style};
use crate::invocation::{Call, Encoded, Executor, InstanceNote};
use crate::payload;
use crate::python::{enter, helpers};

/// Serves the channel until it closes.
pub(crate) fn serve(py: Python<'_>, channel: Channel, executor: Executor) -> PyResult<()> {
    Executor::share_output(py)?;
    let asyncio = py.import("asyncio")?;
    let event_loop = asyncio.call_method0("new_event_loop")?;
    asyncio.call_method1("set_event_loop", (&event_loop,))?;
    let descriptor = channel.as_fd().as_raw_fd();
    let state = State {
        channel: RefCell::new(channel),
        executor: RefCell::new(executor),
        tasks: RefCell::new(HashMap::new()),
        event_loop: event_loop.clone().unbind(),
    };
    let server = Bound::new(py, Server(Rc::new(state)))?;
    event_loop.call_method1("add_reader", (descriptor, server.getattr("readable")?))?;
    loop {
        match event_loop.call_method0("run_forever") {
            Ok(_) => return Ok(()),
            // A task that exits or is interrupted ends its own invocation, not the loop.
            Err(error) if error.is_instance_of::<PySystemExit>(py) => {}
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {}
            Err(error) => return Err(error),
        }
    }
}

struct State {
    channel: RefCell<Channel>,
    executor: RefCell<Executor>,
    tasks: RefCell<HashMap<u64, Py<PyAny>>>,
    event_loop: Py<PyAny>,
}

#[pyclass(unsendable)]
struct Server(Rc<State>);

#[pymethods]
impl Server {
    /// A frame has arrived.
    fn readable(&self, py: Python<'_>) -> PyResult<()> {
        // User code that runs the loop inside itself could come back here: the outer call goes on reading.
        let Ok(mut channel) = self.0.channel.try_borrow_mut() else { return Ok(()) };
        let frame = channel.receive(py)?;
        drop(channel);
        match frame {
            None => self.0.event_loop.call_method0(py, "stop").map(drop),
            Some(Frame { message: ToRunner::Invoke(invoke), body, .. }) => self.invoke(py, &invoke, &body),
            Some(Frame { message: ToRunner::Enter(environment), .. }) => enter(py, &environment),
            Some(Frame { message: ToRunner::Cancel { id }, .. }) => {
                let task = self.0.tasks.borrow().get(&id).map(|task| task.clone_ref(py));
                task.map_or(Ok(()), |task| self.cancel(task.bind(py), id))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Server {
    fn cancel(&self, task: &Bound<'_, PyAny>, id: u64) -> PyResult<()> {
        if let Ok(stack) = event_loop::stack(task) {
            let sender = self.0.executor.borrow().sender().clone();
            task.py().detach(|| sender.send(&FromRunner::Waits { id }, stack.as_bytes()))?;
        }
        task.call_method0("cancel").map(drop)
    }

    fn invoke(&self, py: Python<'_>, invoke: &Invoke, request: &[u8]) -> PyResult<()> {
        let mut instance = InstanceNote::default();
        let mut executor = self.0.executor.borrow_mut();
        executor.enter(py, invoke);
        let call = match executor.prepare(py, invoke, request, &mut instance) {
            Ok(call) => call,
            Err(failure) => {
                drop(executor);
                return self.answer(py, invoke, Err(failure), instance);
            }
        };
        drop(executor); // the user's function may take long and come back here
        let started = call.begin().and_then(|value| self.start(&call, invoke, &value, instance.clone()));
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                let failure = Failure::of_call(py, &error, call.style);
                self.answer(py, invoke, Err(failure), instance)
            }
        }
    }

    /// Makes a task of what the call returned, and its answer from what that comes to.
    fn start<'py>(
        &self,
        call: &Call<'py>,
        invoke: &Invoke,
        value: &Bound<'py, PyAny>,
        instance: InstanceNote,
    ) -> PyResult<()> {
        let py = value.py();
        let emitter = self.0.executor.borrow().emitter(&call.format, invoke);
        let emit = emitter.map(|emitter| emitter.into_function(py)).transpose()?;
        let settled = helpers(py)?.call_method1("settle", (value, &emit))?;
        let task = self.0.event_loop.call_method1(py, "create_task", (settled,))?;
        self.0.tasks.borrow_mut().insert(invoke.id, task.clone_ref(py));
        let finish = Finish {
            server: Rc::clone(&self.0),
            invoke: invoke.clone(),
            format: call.format.clone(),
            style: call.style,
            instance,
            emit: emit.map(|emit| emit.into_any().unbind()),
        };
        task.call_method1(py, "add_done_callback", (finish,)).map(drop)
    }

    fn answer(
        &self,
        py: Python<'_>,
        invoke: &Invoke,
        encoded: Encoded,
        instance: InstanceNote,
    ) -> PyResult<()> {
        self.0.tasks.borrow_mut().remove(&invoke.id);
        let executor = self.0.executor.borrow();
        let (done, body) = executor.end(py, invoke, encoded, instance);
        let sender = executor.sender().clone();
        drop(executor);
        py.detach(|| sender.send(&FromRunner::Done(done), &body))?;
        Ok(())
    }
}

/// Called by a task that is done.
#[pyclass(unsendable)]
struct Finish {
    server: Rc<State>,
    invoke: Invoke,
    format: farcall_protocol::SerializationFormat,
    style: Style,
    instance: InstanceNote,
    emit: Option<Py<PyAny>>,
}

#[pymethods]
impl Finish {
    fn __call__(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let encoded = if task.call_method0("cancelled")?.is_truthy()? {
            Err(Failure::new(Outcome::Cancelled, "the call was cancelled"))
        } else {
            match task.call_method0("result") {
                Ok(value) if self.emit.as_ref().is_some_and(|emit| value.is(emit)) => {
                    Ok((Encoding::None, Vec::new()))
                }
                Ok(value) => payload::encode(&value, &self.format, self.invoke.max_result_bytes),
                Err(error) => Err(Failure::of_call(py, &error, self.style)),
            }
        };
        Server(Rc::clone(&self.server)).answer(py, &self.invoke, encoded, self.instance.clone())
    }
}
