//! What is called: found in the namespace the source made, or refused with what there is.

use farcall_protocol::SerializationFormat;
use farcall_protocol::frame::{Encoding, Invoke};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::failure::{Failure, Style};
use crate::payload;

use super::Encoded;

/// Names listed when the asked-for one does not exist.
const LISTED_NAMES: usize = 20;

/// A function or method with its arguments.
#[derive(Debug)]
pub(crate) struct Call<'py> {
    pub(super) callable: Bound<'py, PyAny>,
    pub(super) args: Bound<'py, PyTuple>,
    pub(super) kwargs: Bound<'py, PyDict>,
    pub(crate) format: SerializationFormat,
    pub(crate) style: Style,
}

impl<'py> Call<'py> {
    /// Calls it. Asynchronous code has not run when this returns.
    pub(crate) fn begin(&self) -> PyResult<Bound<'py, PyAny>> {
        self.callable.call(&self.args, Some(&self.kwargs))
    }

    /// Encodes what it came to; `None` stands for a result that was streamed.
    pub(crate) fn encode(
        &self,
        py: Python<'_>,
        invoke: &Invoke,
        value: PyResult<Option<Bound<'py, PyAny>>>,
    ) -> Encoded {
        match value {
            Ok(Some(value)) => payload::encode(&value, &self.format, invoke.max_result_bytes),
            Ok(None) => Ok((Encoding::None, Vec::new())),
            Err(error) => Err(Failure::of_call(py, &error, self.style)),
        }
    }
}

/// The function `name` of a namespace.
pub(super) fn function<'py>(
    namespace: &Bound<'py, PyDict>,
    name: &str,
) -> Result<Bound<'py, PyAny>, Failure> {
    let found = lookup(namespace, name).ok_or_else(|| {
        not_found("function", name, "the code", &names(namespace, |value| value.is_callable()))
    })?;
    // Handles of decorators keep the plain function in `_fn`.
    let plain = found.getattr_opt("_fn").ok().flatten().filter(|function| !function.is_none());
    let found = plain.unwrap_or(found);
    if found.is_callable() {
        return Ok(found);
    }
    Err(Failure::rejected(format!("`{name}` in the code is of type `{}`, not a function", type_name(&found))))
}

/// The class `name` of a namespace.
pub(super) fn class<'py>(namespace: &Bound<'py, PyDict>, name: &str) -> Result<Bound<'py, PyAny>, Failure> {
    let is_class = |value: &Bound<'_, PyAny>| value.is_instance_of::<PyType>();
    let found = lookup(namespace, name)
        .ok_or_else(|| not_found("class", name, "the code", &names(namespace, is_class)))?;
    if found.is_callable() {
        return Ok(found);
    }
    Err(Failure::rejected(format!("`{name}` in the code is of type `{}`, not a class", type_name(&found))))
}

/// A method of an instance of the class `class`.
pub(super) fn method<'py>(
    object: &Bound<'py, PyAny>,
    class: &str,
    method: &str,
    style: Style,
) -> Result<Bound<'py, PyAny>, Failure> {
    let missing = || not_found("method", method, &format!("class `{class}`"), &methods(object));
    if method == "__call__" {
        return if object.is_callable() { Ok(object.clone()) } else { Err(missing()) };
    }
    let raised = |error| Failure::raised(object.py(), &error, style);
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

fn methods(object: &Bound<'_, PyAny>) -> Vec<String> {
    // On the type: asking the instance could run a property.
    let is_method =
        |name: &String| object.get_type().getattr(name.as_str()).is_ok_and(|found| found.is_callable());
    let Ok(names) = object.dir() else { return Vec::new() };
    let names = names.iter().filter_map(|name| name.extract::<String>().ok());
    names.filter(|name| !name.starts_with('_')).filter(is_method).collect()
}

fn lookup<'py>(namespace: &Bound<'py, PyDict>, name: &str) -> Option<Bound<'py, PyAny>> {
    namespace.get_item(PyString::new(namespace.py(), name)).ok().flatten()
}

fn names(namespace: &Bound<'_, PyDict>, wanted: impl Fn(&Bound<'_, PyAny>) -> bool) -> Vec<String> {
    let named = namespace.iter().filter_map(|(name, value)| Some((name.extract::<String>().ok()?, value)));
    named.filter(|(name, value)| !name.starts_with('_') && wanted(value)).map(|(name, _)| name).collect()
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
