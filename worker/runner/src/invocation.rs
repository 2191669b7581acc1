//! One invocation, from the request's bytes to the answer.

use std::path::PathBuf;

use farcall_protocol::frame::{Done, Encoding, Instance, Invoke, Outcome};
use farcall_protocol::{FunctionRequest, Target};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rustix::process::{Pid, getpid};

use crate::capture::Capture;
use crate::event_loop::EventLoop;
use crate::failure::Failure;
use crate::instances::Instances;
use crate::payload;
use crate::python::helpers;
use crate::shipped::ShippedFiles;
use crate::source::{Source, Sources};

/// Names listed when the asked-for one does not exist.
const LISTED_NAMES: usize = 20;

/// Everything of a runner that outlives an invocation.
#[derive(Debug)]
pub(crate) struct Executor {
    sources: Sources,
    shipped: ShippedFiles,
    instances: Instances,
    event_loop: EventLoop,
    capture: Capture,
    process: Pid,
}

impl Executor {
    pub(crate) fn new(scratch: PathBuf, max_instances: usize, capture: Capture) -> Self {
        Self {
            sources: Sources::new(&scratch),
            shipped: ShippedFiles::new(&scratch),
            instances: Instances::new(max_instances),
            event_loop: EventLoop::default(),
            capture,
            process: getpid(),
        }
    }

    /// Runs a request and says how it ended; the bytes are the encoded result. When this returns, everything
    /// the call printed has been written to the pipe.
    pub(crate) fn invoke(&mut self, py: Python<'_>, invoke: &Invoke, request: &[u8]) -> (Done, Vec<u8>) {
        // An interrupt meant for the last call may have come too late for it.
        let _ = py.check_signals();
        let _ = self.capture.restore(py);
        let mut instance = None;
        let result = self.run(py, invoke, request, &mut instance);
        self.end_forked_child(py, None);
        self.capture.flush(py);
        let (outcome, encoding, error, body) = match result {
            Ok((encoding, body)) => (Outcome::Succeeded, encoding, None, body),
            Err(Failure { outcome, error }) => (outcome, Encoding::None, Some(error), Vec::new()),
        };
        (Done { id: invoke.id, outcome, encoding, error, instance }, body)
    }

    fn run(
        &mut self,
        py: Python<'_>,
        invoke: &Invoke,
        request: &[u8],
        instance: &mut Option<Instance>,
    ) -> Result<(Encoding, Vec<u8>), Failure> {
        let request = FunctionRequest::parse(request).map_err(Failure::rejected)?;
        let target = request.target().map_err(Failure::rejected)?;
        let raised = |error: PyErr| Failure::raised(py, &error, request.wants_bare_traceback());

        let shipped = self.shipped.activate(py, &request.modules).map_err(raised)?;
        let (Target::Function { name, code } | Target::Class { name, code, .. }) = target;
        let source = Source { code, name, shipped };
        let namespace = self.sources.load(py, source, invoke.fresh).map_err(raised)?;
        let callable = match target {
            Target::Function { name, .. } => function(&namespace, name)?,
            Target::Class { name, method, .. } => {
                let class = class(&namespace, name)?;
                let (object, used) = self.instances.get(&class, name, source.key(), &request)?;
                *instance = Some(used);
                bound_method(&object, name, method, request.wants_bare_traceback())?
            }
        };
        let format = &request.serialization_format;
        let (args, kwargs) = payload::decode(py, format, &request.args, &request.kwargs, "argument")?;
        let value = callable.call(args, Some(&kwargs)).and_then(|value| self.settle(value));
        self.end_forked_child(py, value.as_ref().err());
        let value = value.map_err(raised)?;
        payload::encode(&value, format, invoke.max_result_bytes, &mut self.sources)
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

    /// Awaits what is awaitable and collects what generates.
    fn settle<'py>(&mut self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        let kinds = py.import("_collections_abc")?;
        let value = if value.is_instance(&kinds.getattr("Awaitable")?)? {
            self.event_loop.run(&value)?
        } else {
            value
        };
        if is_made_by(&kinds, "generator", "Generator", &value)? {
            return py.import("builtins")?.call_method1("list", (value,));
        }
        if is_made_by(&kinds, "async_generator", "AsyncGenerator", &value)? {
            return self.event_loop.run(&helpers(py)?.call_method1("collect", (value,))?);
        }
        Ok(value)
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

fn function<'py>(namespace: &Bound<'py, PyDict>, name: &str) -> Result<Bound<'py, PyAny>, Failure> {
    let is_candidate = |_: &str, value: &Bound<'_, PyAny>| value.is_callable();
    let found = lookup(namespace, name)
        .ok_or_else(|| not_found("function", name, "the code", &names(namespace, is_candidate)))?;
    // Handles of decorators keep the plain function in `_fn`.
    let found =
        found.getattr_opt("_fn").ok().flatten().filter(|function| !function.is_none()).unwrap_or(found);
    if found.is_callable() {
        return Ok(found);
    }
    Err(Failure::rejected(format!("`{name}` in the code is of type `{}`, not a function", type_name(&found))))
}

fn class<'py>(namespace: &Bound<'py, PyDict>, name: &str) -> Result<Bound<'py, PyAny>, Failure> {
    let is_class = |_: &str, value: &Bound<'_, PyAny>| value.is_instance_of::<pyo3::types::PyType>();
    let found = lookup(namespace, name)
        .ok_or_else(|| not_found("class", name, "the code", &names(namespace, is_class)))?;
    if found.is_callable() {
        return Ok(found);
    }
    Err(Failure::rejected(format!("`{name}` in the code is of type `{}`, not a class", type_name(&found))))
}

fn bound_method<'py>(
    object: &Bound<'py, PyAny>,
    class: &str,
    method: &str,
    bare_traceback: bool,
) -> Result<Bound<'py, PyAny>, Failure> {
    let missing = || {
        let known = object.dir().map_or_else(
            |_| Vec::new(),
            |names| {
                let names = names.iter().filter_map(|name| name.extract::<String>().ok());
                names.filter(|name| !name.starts_with('_')).filter(|name| is_method(object, name)).collect()
            },
        );
        not_found("method", method, &format!("class `{class}`"), &known)
    };
    if method == "__call__" {
        return if object.is_callable() { Ok(object.clone()) } else { Err(missing()) };
    }
    let raised = |error| Failure::raised(object.py(), &error, bare_traceback);
    let found = object.getattr_opt(method).map_err(raised)?;
    let found = found.ok_or_else(missing)?;
    if found.is_callable() {
        return Ok(found);
    }
    Err(Failure::rejected(format!(
        "`{method}` of class `{class}` is of type `{}`, not a method",
        type_name(&found)
    )))
}

fn is_method(object: &Bound<'_, PyAny>, name: &str) -> bool {
    // On the type: asking the instance could run a property.
    object.get_type().getattr(name).is_ok_and(|member| member.is_callable())
}

fn lookup<'py>(namespace: &Bound<'py, PyDict>, name: &str) -> Option<Bound<'py, PyAny>> {
    namespace.get_item(PyString::new(namespace.py(), name)).ok().flatten()
}

fn names(namespace: &Bound<'_, PyDict>, wanted: impl Fn(&str, &Bound<'_, PyAny>) -> bool) -> Vec<String> {
    let named = namespace.iter().filter_map(|(name, value)| Some((name.extract::<String>().ok()?, value)));
    named
        .filter(|(name, value)| !name.starts_with('_') && wanted(name, value))
        .map(|(name, _)| name)
        .collect()
}

fn not_found(kind: &str, name: &str, place: &str, known: &[String]) -> Failure {
    let hint = if known.is_empty() {
        format!("{place} defines none")
    } else {
        let more = if known.len() > LISTED_NAMES { ", ..." } else { "" };
        format!("it has: {}{more}", known[..known.len().min(LISTED_NAMES)].join(", "))
    };
    Failure::rejected(format!("{kind} `{name}` not found in {place}\nhint: {hint}"))
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "value".to_owned(), |name| name.to_string())
}
