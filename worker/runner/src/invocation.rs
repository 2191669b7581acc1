//! One invocation, from the request's bytes to the answer.

mod call;
mod emitter;

use std::io;
use std::path::Path;

use farcall_protocol::frame::{Done, Encoding, FromRunner, Instance, Invoke, Outcome};
use farcall_protocol::{FunctionRequest, SerializationFormat, Target};
use pyo3::prelude::*;
use rustix::fd::BorrowedFd;
use rustix::process::{Pid, getpid};

use crate::capture::Capture;
use crate::channel::Sender;
use crate::event_loop::EventLoop;
use crate::failure::{Failure, Style};
use crate::instances::Instances;
use crate::payload;
use crate::python::{Module, helpers};
use crate::shipped::ShippedFiles;
use crate::source::{Source, Sources};
pub(crate) use call::Call;
use emitter::Emitter;

/// Where the abstract classes of awaitables and generators are.
static KINDS: Module = Module::new("_collections_abc");

/// Everything of a runner that outlives an invocation.
#[derive(Debug)]
pub(crate) struct Executor {
    sources: Sources,
    shipped: ShippedFiles,
    instances: Instances,
    event_loop: EventLoop,
    capture: Capture,
    sender: Sender,
    process: Pid,
}

/// What an invocation has to tell about class instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstanceNote {
    /// The one it called.
    used: Option<Instance>,
    /// The one that had to go for it.
    dropped: Option<String>,
}

/// An encoded result, or why there is none.
pub(crate) type Encoded = Result<(Encoding, Vec<u8>), Failure>;

impl Executor {
    pub(crate) fn new(scratch: &Path, max_instances: usize, capture: Capture, sender: Sender) -> Self {
        Self {
            sources: Sources::new(scratch),
            shipped: ShippedFiles::new(scratch),
            instances: Instances::new(max_instances),
            event_loop: EventLoop::default(),
            capture,
            sender,
            process: getpid(),
        }
    }

    /// Prepares the output for invocations that print side by side.
    pub(crate) fn share_output(py: Python<'_>) -> PyResult<()> {
        Capture::share(py)
    }

    /// Goes on with a new output pipe.
    pub(crate) fn use_output(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        self.capture.use_pipe(pipe)
    }

    /// Runs a request to its end, with the runner to itself; the bytes are the encoded result. When this
    /// returns, everything the call printed has been written to the pipe.
    pub(crate) fn invoke(&mut self, py: Python<'_>, invoke: &Invoke, request: &[u8]) -> (Done, Vec<u8>) {
        if invoke.settle {
            // An interrupt meant for the last call may have come too late for it. A failure to tell means that
            // the supervisor is gone.
            let _ = py.check_signals();
            let _ = py.detach(|| self.sender.send(&FromRunner::Settled { id: invoke.id }, &[]));
        }
        let _ = self.capture.begin(py, invoke.id, true);
        let mut instance = InstanceNote::default();
        let encoded = self.prepare(py, invoke, request, &mut instance).and_then(|call| {
            let value = call.begin().and_then(|value| self.settle(value, &call, invoke));
            self.end_forked_child(py, value.as_ref().err());
            call.encode(py, invoke, value)
        });
        self.end(py, invoke, encoded, instance)
    }

    /// Everything before the user's function: source, instance, arguments.
    pub(crate) fn prepare<'py>(
        &mut self,
        py: Python<'py>,
        invoke: &Invoke,
        request: &[u8],
        instance: &mut InstanceNote,
    ) -> Result<Call<'py>, Failure> {
        let request = FunctionRequest::parse(request).map_err(Failure::rejected)?;
        let target = request.target().map_err(Failure::rejected)?;
        let style = Style::of(&request);
        let raised = |error: PyErr| Failure::raised(py, &error, style);

        let shipped = self.shipped.activate(py, &request.modules, invoke.modules.as_ref()).map_err(raised)?;
        let (Target::Function { name, code } | Target::Class { name, code, .. }) = target;
        let source = Source { code, name, shipped };
        let namespace = self.sources.load(py, source, invoke.fresh).map_err(raised)?;
        let callable = match target {
            Target::Function { name, .. } => call::function(&namespace, name)?,
            Target::Class { name, method, .. } => {
                let class = call::class(&namespace, name)?;
                let used = self.instances.get(&class, name, source.key(), &request)?;
                *instance = InstanceNote { used: Some(used.instance), dropped: used.dropped };
                call::method(&used.object, name, method, style)?
            }
        };
        let format = request.serialization_format.clone();
        let (args, kwargs) = payload::decode(py, &format, &request.args, &request.kwargs, "argument")?;
        Ok(Call { callable, args, kwargs, format, style })
    }

    /// An emitter for what `call` generates, if its client wants it piece by piece.
    pub(crate) fn emitter(&self, format: &SerializationFormat, invoke: &Invoke) -> Option<Emitter> {
        invoke.stream.then(|| Emitter::new(self.sender.clone(), self.capture.clone(), format.clone(), invoke))
    }

    /// Turns what a call came to into its answer and hands on all it printed.
    pub(crate) fn end(
        &self,
        py: Python<'_>,
        invoke: &Invoke,
        encoded: Encoded,
        instance: InstanceNote,
    ) -> (Done, Vec<u8>) {
        self.end_forked_child(py, None);
        self.capture.flush(py);
        self.capture.end(py);
        let (outcome, encoding, error, body) = match encoded {
            Ok((encoding, body)) => (Outcome::Succeeded, encoding, None, body),
            Err(Failure { outcome, error, exception: None }) => {
                (outcome, Encoding::None, Some(error), Vec::new())
            }
            Err(Failure { outcome, error, exception: Some(exception) }) => {
                (outcome, Encoding::Exception, Some(error), exception.into_bytes())
            }
        };
        let has_spawned = self.capture.has_spawned();
        let InstanceNote { used: instance, dropped: dropped_instance } = instance;
        (Done { id: invoke.id, outcome, encoding, error, instance, dropped_instance, has_spawned }, body)
    }

    /// Ends this process if it is a child that user code has forked and let return: it would answer in its
    /// parent's place. It ends as a Python program does: with its exit code, or with a traceback and 1.
    fn end_forked_child(&self, py: Python<'_>, error: Option<&PyErr>) {
        if getpid() == self.process {
            return;
        }
        if let Some(error) = error {
            error.print(py); // does not return from a `SystemExit`
        }
        self.capture.flush(py);
        let ended = py.import("posix").and_then(|posix| posix.call_method1("_exit", (error.is_some(),)));
        unreachable!("a forked child goes on: {ended:?}");
    }

    /// Marks the code that runs from here on in this context as that of an invocation.
    pub(crate) fn enter(&self, py: Python<'_>, invoke: &Invoke) {
        let _ = self.capture.begin(py, invoke.id, false);
    }

    /// The sending half of the channel.
    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Awaits what is awaitable and collects or streams what generates. `None` stands for a streamed result.
    fn settle<'py>(
        &mut self,
        value: Bound<'py, PyAny>,
        call: &Call<'py>,
        invoke: &Invoke,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        let kinds = KINDS.get(py)?;
        let is_asynchronous = value.is_instance(&kinds.getattr("Awaitable")?)?
            || is_made_by(kinds, "async_generator", "AsyncGenerator", &value)?;
        if is_asynchronous {
            let emit =
                self.emitter(&call.format, invoke).map(|emitter| emitter.into_function(py)).transpose()?;
            let settled = helpers(py)?.call_method1("settle", (&value, &emit))?;
            let tell = |stack: String| {
                let _ =
                    py.detach(|| self.sender.send(&FromRunner::Waits { id: invoke.id }, stack.as_bytes()));
            };
            let value = self.event_loop.run(&settled, tell)?;
            return Ok(Some(value).filter(|value| !emit.is_some_and(|emit| value.is(&emit))));
        }
        if !is_made_by(kinds, "generator", "Generator", &value)? {
            return Ok(Some(value));
        }
        let Some(mut emitter) = self.emitter(&call.format, invoke) else {
            return py.import("builtins")?.call_method1("list", (value,)).map(Some);
        };
        for item in value.try_iter()? {
            emitter.emit(&item?)?;
        }
        Ok(None)
    }
}

/// Whether `value` is a generator, or of a class that derives from the abstract one. `isinstance` would also
/// take any object that happens to have a generator's methods, such as a channel, and exhaust it.
fn is_made_by(
    kinds: &Bound<'_, PyModule>,
    concrete: &str,
    declared: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let declared = kinds.getattr(declared)?;
    Ok(value.is_instance(&kinds.getattr(concrete)?)? || value.get_type().mro().contains(declared)?)
}
