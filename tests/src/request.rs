//! Building `FunctionRequest`s, field by field, in the wire's own names.

use std::fmt;

use farcall_protocol::ModulesKey;
use serde_json::{Map, Value, json};

/// A request as a client would send it.
#[derive(Debug, Clone)]
pub struct Request(Map<String, Value>);

/// A call of the function `name`, with JSON arguments and result.
pub fn function(name: &str, code: &str) -> Request {
    Request(Map::new())
        .with("function_name", name)
        .with("function_code", code)
        .with("execution_type", "function")
        .with("serialization_format", "json")
}

/// A call of a method of the class `name`, as flash sends it: with an id, and not asking for a new instance.
pub fn class(name: &str, code: &str, method: &str) -> Request {
    Request(Map::new())
        .with("class_name", name)
        .with("class_code", code)
        .with("method_name", method)
        .with("execution_type", "class")
        .with("instance_id", format!("{name}_1"))
        .with("create_new_instance", false)
        .with("serialization_format", "json")
}

impl Request {
    /// Sets a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Leaves a field out.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        self.0.remove(field);
        self
    }

    /// Positional arguments: a JSON array.
    #[must_use]
    pub fn args(self, args: Value) -> Self {
        self.with("args", args)
    }

    /// Cloudpickle for arguments and result, which is the wire's default.
    #[must_use]
    pub fn pickled(self) -> Self {
        self.without("serialization_format")
    }

    /// Python requirements.
    #[must_use]
    pub fn dependencies(self, requirements: &[&str]) -> Self {
        self.with("dependencies", requirements)
    }

    /// Shipped files: path and source.
    #[must_use]
    pub fn modules(self, files: &[(&str, &str)]) -> Self {
        let files: Map<String, Value> =
            files.iter().map(|(path, source)| ((*path).to_owned(), json!(source))).collect();
        self.with("modules", files)
    }

    /// Names the files that `files` are by their content, and brings them along only if told to.
    #[must_use]
    pub fn modules_by_content(self, files: &[(&str, &str)], brings: bool) -> Self {
        let set = files.iter().map(|(path, source)| ((*path).to_owned(), (*source).to_owned())).collect();
        let request = if brings { self.modules(files) } else { self };
        request.with("farcall", json!({"failure": true, "modules": ModulesKey::of(&set)}))
    }

    /// As the `input` of a job.
    pub fn input(&self) -> Value {
        json!(self.0)
    }

    /// In the envelope of a job.
    #[must_use]
    pub fn wrapped(self) -> Self {
        Self(Map::new()).with("id", "job-1").with("input", self.0)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", json!(self.0))
    }
}
