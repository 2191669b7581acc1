//! Class instances, kept between calls by their id.
//!
//! An instance is used again while its class's source and its constructor arguments are the ones it was made
//! from; otherwise it is made anew. Clients send both with every call.

use farcall_protocol::frame::Instance;
use farcall_protocol::{FunctionRequest, InstanceInfo};
use pyo3::prelude::*;
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Style};
use crate::kept::Kept;
use crate::payload::decode;
use crate::python::Module;
use crate::source::SourceKey;

static TIME: Module = Module::new("time");

/// The instances of this runner.
#[derive(Debug)]
pub(crate) struct Instances {
    kept: Kept<String, Entry>,
}

/// An instance to call.
#[derive(Debug)]
pub(crate) struct Used<'py> {
    /// The instance.
    pub(crate) object: Bound<'py, PyAny>,
    /// What the client is told about it.
    pub(crate) instance: Instance,
    /// The instance that had to go for it.
    pub(crate) dropped: Option<String>,
}

#[derive(Debug)]
struct Entry {
    object: Py<PyAny>,
    made_from: SourceKey,
    info: InstanceInfo,
}

impl Instances {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Kept::new(limit) }
    }

    /// The instance `request` asks for, made if need be, with this call counted.
    pub(crate) fn get<'py>(
        &mut self,
        class: &Bound<'py, PyAny>,
        class_name: &str,
        source: SourceKey,
        request: &FunctionRequest<'_>,
    ) -> Result<Used<'py>, Failure> {
        let py = class.py();
        let made_from = made_from(source, class_name, request);
        let now = now(py).map_err(|error| Failure::raised(py, &error, Style::of(request)))?;
        // `create_new_instance` defaults to true in requests that name no instance at all.
        let id = request.instance_id.clone().unwrap_or_else(|| format!("{class_name}_{}", random_suffix()));
        let known = self.kept.get(&id).filter(|entry| entry.made_from == made_from);
        if let Some(entry) = known.filter(|_| !request.create_new_instance) {
            entry.info.method_calls += 1;
            entry.info.last_used = now;
            let instance = Instance { id, info: entry.info.clone() };
            return Ok(Used { object: entry.object.bind(py).clone(), instance, dropped: None });
        }
        let object = construct(class, request)?;
        let info = InstanceInfo {
            class_name: class_name.to_owned(),
            created_at: now.clone(),
            method_calls: 1,
            last_used: now,
        };
        let entry = Entry { object: object.clone().unbind(), made_from, info: info.clone() };
        // What goes for it is dropped here, with the GIL held: its `__del__` runs now.
        let gone = self.kept.insert(id.clone(), entry).map(|(gone, _)| gone);
        Ok(Used { object, dropped: gone.filter(|gone| *gone != id), instance: Instance { id, info } })
    }
}

fn construct<'py>(
    class: &Bound<'py, PyAny>,
    request: &FunctionRequest<'_>,
) -> Result<Bound<'py, PyAny>, Failure> {
    let py = class.py();
    let format = &request.serialization_format;
    let (args, kwargs) =
        decode(py, format, &request.constructor_args, &request.constructor_kwargs, "constructor argument")?;
    class.call(args, Some(&kwargs)).map_err(|error| Failure::raised(py, &error, Style::of(request)))
}

fn made_from(source: SourceKey, class_name: &str, request: &FunctionRequest<'_>) -> SourceKey {
    let mut hash = Sha256::new().chain_update(source).chain_update(class_name);
    let positional = request.constructor_args.iter().map(|payload| ("", *payload));
    for (name, payload) in positional.chain(request.constructor_kwargs.iter()) {
        for text in [name.as_bytes(), payload.json()] {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}

/// Local time, ISO 8601 with microseconds and without zone, as `datetime.now().isoformat()` writes it.
fn now(py: Python<'_>) -> PyResult<String> {
    let time = TIME.get(py)?;
    let nanoseconds: u64 = time.call_method0("time_ns")?.extract()?;
    let local = time.call_method1("localtime", (nanoseconds / 1_000_000_000,))?;
    let seconds: String = time.call_method1("strftime", ("%Y-%m-%dT%H:%M:%S", local))?.extract()?;
    Ok(format!("{seconds}.{:06}", nanoseconds / 1000 % 1_000_000))
}

fn random_suffix() -> String {
    let mut bytes = [0; 4];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    debug_assert_eq!(filled, Ok(bytes.len()));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
