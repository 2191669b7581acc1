//! Arguments in, results out: base64 and pickle, or JSON.
//!
//! Most payloads are plain builtin data. They go through C's `_pickle` alone, which costs nothing to import;
//! cloudpickle is loaded for the first value that needs it.

use base64_simd::STANDARD;
use farcall_protocol::frame::Encoding;
use farcall_protocol::{KeywordArguments, Payload, SerializationFormat};
use memchr::memmem;
use pyo3::exceptions::{PyException, PyImportError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyString, PyTuple};

use crate::failure::{Failure, message, summary};
use crate::python::{Module, helpers};
use crate::source::{register_by_value, without_module_names};

/// Pickle protocol of results: every client's Python (3.8 and later) reads it.
const PROTOCOL: u8 = 5;

/// What a pickle that holds code objects contains, however it names their type.
const CODE_TYPE: &[u8] = b"CodeType";

static PICKLE: Module = Module::new("_pickle");
static IO: Module = Module::new("_io");

/// Decodes positional and keyword arguments. `what` names them in errors: `argument`.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    format: &SerializationFormat,
    positional: &[Payload<'_>],
    keywords: &KeywordArguments<'_>,
    what: &str,
) -> Result<(Bound<'py, PyTuple>, Bound<'py, PyDict>), Failure> {
    let one = |payload: Payload<'_>, name: &str| match format {
        SerializationFormat::Json => from_json(py, payload.json(), name),
        _ => from_pickle(py, payload.json(), name),
    };
    let rejected = |error: PyErr| Failure::rejected(summary(py, &error));
    let mut values = Vec::with_capacity(positional.len());
    for (index, payload) in positional.iter().enumerate() {
        values.push(one(*payload, &format!("{what} {index}"))?);
    }
    let named = PyDict::new(py);
    for (name, payload) in keywords.iter() {
        named.set_item(name, one(payload, &format!("{what} `{name}`"))?).map_err(rejected)?;
    }
    Ok((PyTuple::new(py, values).map_err(rejected)?, named))
}

fn from_json<'py>(py: Python<'py>, json: &[u8], name: &str) -> Result<Bound<'py, PyAny>, Failure> {
    // Python's own parser: integers of any size, floats to the last bit, and lone surrogates are its.
    // As text: from bytes, it would guess their encoding.
    let text = || PyString::from_bytes(py, json);
    let loads = || py.import("json")?.call_method1("loads", (text()?,));
    loads().map_err(|error| Failure::rejected(format!("{name} is not valid JSON: {}", message(py, &error))))
}

fn from_pickle<'py>(py: Python<'py>, json: &[u8], name: &str) -> Result<Bound<'py, PyAny>, Failure> {
    let hint = "hint: with serialization_format \"cloudpickle\", arguments are base64 of a cloudpickle each";
    let Some(data) = decode_base64(py, json) else {
        return Err(Failure::rejected(format!("{name} is not a base64 string\n{hint}")));
    };
    let loaded = if memmem::find(data.as_bytes(), CODE_TYPE).is_some() {
        helpers(py).and_then(|helpers| helpers.call_method1("load_checked", (&data,)))
    } else {
        PICKLE.get(py).and_then(|pickle| pickle.call_method1("loads", (&data,)))
    };
    loaded.map_err(|error| {
        let hint = unpickling_hint(py, &error);
        Failure::rejected(format!("{name} could not be unpickled: {}{hint}", summary(py, &error)))
    })
}

fn unpickling_hint(py: Python<'_>, error: &PyErr) -> String {
    let ours = py.version_info();
    if message(py, error).contains("another Python version") {
        let (major, minor) = (ours.major, ours.minor);
        return format!(
            "\nhint: this worker runs Python {major}.{minor}; call it from {major}.{minor}, \
             use a worker with the caller's version, or pass data instead of functions"
        );
    }
    let missing = error.value(py).getattr("name").and_then(|name| name.extract::<String>());
    match missing {
        Ok(module) if error.is_instance_of::<PyImportError>(py) => {
            format!(
                "\nhint: the argument needs the module `{module}` on the worker; add its package to `dependencies`"
            )
        }
        _ => String::new(),
    }
}

/// Decodes a JSON string of base64 straight into a Python `bytes`. Line breaks are tolerated: `base64` of
/// coreutils writes them.
fn decode_base64<'py>(py: Python<'py>, json: &[u8]) -> Option<Bound<'py, PyBytes>> {
    // As it stands: base64 has no character that JSON escapes, and what has one is no base64.
    let quoted = json.strip_prefix(b"\"").and_then(|json| json.strip_suffix(b"\""))?;
    decode_plain(py, quoted).or_else(|| {
        let text = serde_json::from_slice::<String>(json).ok()?;
        let compact = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
        decode_plain(py, &compact)
    })
}

fn decode_plain<'py>(py: Python<'py>, encoded: &[u8]) -> Option<Bound<'py, PyBytes>> {
    let length = STANDARD.decoded_length(encoded).ok()?;
    let decode = |buffer: &mut [u8]| {
        let out = base64_simd::Out::from_slice(buffer);
        STANDARD.decode(encoded, out).map(|_| ()).map_err(|error| PyException::new_err(error.to_string()))
    };
    PyBytes::new_with(py, length, decode).ok()
}

/// Encodes a result in the format the request asked for.
pub(crate) fn encode(
    value: &Bound<'_, PyAny>,
    format: &SerializationFormat,
    limit: u64,
) -> Result<(Encoding, Vec<u8>), Failure> {
    let (encoding, body) = match format {
        SerializationFormat::Json => (Encoding::Json, to_json(value)?),
        _ => (Encoding::Pickle, to_pickle(value)?),
    };
    if body.len() as u64 > limit {
        let text = format!(
            "the result is {} bytes as sent, over the limit of {limit}\n\
             hint: return less, or write it to storage and return where it is",
            body.len()
        );
        return Err(Failure::unserializable(text));
    }
    Ok((encoding, body))
}

fn to_json(value: &Bound<'_, PyAny>) -> Result<Vec<u8>, Failure> {
    let py = value.py();
    let dumps = |value: &Bound<'_, PyAny>| -> PyResult<Vec<u8>> {
        let options = [("allow_nan", false), ("ensure_ascii", false)].into_py_dict(py)?;
        options.set_item("separators", (",", ":"))?;
        let json = py.import("json")?;
        let text = json.call_method("dumps", (value,), Some(&options))?.str()?;
        match text.to_str() {
            Ok(text) => Ok(text.as_bytes().to_vec()),
            Err(_) => {
                // A lone surrogate has no UTF-8; JSON can still escape it.
                options.set_item("ensure_ascii", true)?;
                Ok(json.call_method("dumps", (value,), Some(&options))?.str()?.to_str()?.as_bytes().to_vec())
            }
        }
    };
    dumps(value).map_err(|error| {
        let accepts = py.import("json").and_then(|json| {
            let options = [("allow_nan", false)].into_py_dict(py)?;
            py.import("functools")?.call_method("partial", (json.getattr("dumps")?,), Some(&options))
        });
        let hint = "hint: return numbers (no NaN or infinity), strings, lists and dicts, or ask for \
                    serialization_format \"cloudpickle\"";
        unserializable(value, accepts, &error, "JSON", hint)
    })
}

fn to_pickle(value: &Bound<'_, PyAny>) -> Result<Vec<u8>, Failure> {
    let py = value.py();
    let pickled = match plain_pickle(value) {
        Err(error) if error.is_instance_of::<NotPlain>(py) => {
            let cloudpickle = py.import("cloudpickle").map_err(|error| {
                Failure::unserializable(format!(
                    "the result needs cloudpickle to be sent, which does not import: {}\n\
                     hint: install cloudpickle into the worker's Python, or add it to `dependencies`",
                    summary(py, &error)
                ))
            })?;
            register_by_value(&cloudpickle)
                .and_then(|()| cloudpickle.call_method1("dumps", (value, PROTOCOL)))
        }
        result => result,
    };
    let pickled = pickled.and_then(|pickled| Ok(pickled.cast_into::<PyBytes>()?));
    match pickled {
        Ok(pickled) => Ok(STANDARD.encode_type::<Vec<u8>>(pickled.as_bytes())),
        Err(error) => {
            let accepts = py.import("cloudpickle").and_then(|cloudpickle| cloudpickle.getattr("dumps"));
            let hint = "hint: return plain data, or objects that can be pickled";
            Err(unserializable(value, accepts, &error, "pickle", hint))
        }
    }
}

pyo3::create_exception!(farcall, NotPlain, PyException, "A value that needs cloudpickle.");

static PLAIN_PICKLER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Pickles builtin data with C's pickler and raises [`NotPlain`] at the first value of any other type.
fn plain_pickle<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    #[pyfunction]
    fn refuse(_value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(NotPlain::new_err(()))
    }

    let py = value.py();
    let class = PLAIN_PICKLER.get_or_try_init(py, || {
        // C's pickler asks `reducer_override` about everything but exact builtin types.
        let base = PICKLE.get(py)?.getattr("Pickler")?;
        let members = [("reducer_override", wrap_pyfunction!(refuse, py)?)].into_py_dict(py)?;
        let class = py.get_type::<pyo3::types::PyType>().call1(("PlainPickler", (base,), members))?;
        Ok::<_, PyErr>(class.unbind())
    })?;
    let buffer = IO.get(py)?.call_method0("BytesIO")?;
    class.bind(py).call1((&buffer, PROTOCOL))?.call_method1("dump", (value,))?;
    buffer.call_method0("getvalue")
}

/// Says which member of a result is to blame.
fn unserializable(
    value: &Bound<'_, PyAny>,
    accepts: PyResult<Bound<'_, PyAny>>,
    error: &PyErr,
    format: &str,
    hint: &str,
) -> Failure {
    let py = value.py();
    let blame = || -> PyResult<(String, String, String)> {
        let (path, kind, reason) = helpers(py)?.call_method1("blame", (value, accepts?))?.extract::<(
            String,
            Bound<'_, PyAny>,
            Bound<'_, PyAny>,
        )>()?;
        let reason = PyErr::from_value(reason);
        Ok((path, kind.getattr("__name__")?.extract()?, summary(py, &reason)))
    };
    let text = match blame() {
        Ok((path, kind, reason)) => {
            format!("the result cannot be sent as {format}: `{path}` (a {kind}): {reason}\n{hint}")
        }
        Err(_) => format!("the result cannot be sent as {format}: {}\n{hint}", summary(py, error)),
    };
    Failure::unserializable(without_module_names(&text))
}
