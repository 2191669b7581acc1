//! `FunctionRequest`: what a client asks to be run.
//!
//! The struct is the union of the fields that runpod-flash 1.x, runpod 2.x and their predecessors send.
//! Unknown fields are ignored, `null` means the default, and a request may come bare or wrapped as
//! `{"input": {...}}`. Arguments stay unparsed slices of the document ([`Payload`]): a 7 MB argument is
//! never copied here.

mod arguments;
mod extras;
mod kind;
mod modules;
mod outline;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

pub use arguments::{KeywordArguments, Payload};
pub use extras::Extras;
pub use kind::{ExecutionType, SerializationFormat};
pub use modules::ModulesKey;
use outline::Outline;

/// One request to run a function or a method. Field names are the wire's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionRequest<'a> {
    /// Function to call; required unless `execution_type` is `"class"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_name: Option<String>,
    /// Python source that defines the function: the function alone (1.x) or its whole module (2.x).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_code: Option<String>,
    /// Positional arguments: base64 of a cloudpickle each, or plain JSON (see `serialization_format`).
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub args: Vec<Payload<'a>>,
    /// Keyword arguments, in the client's order.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub kwargs: KeywordArguments<'a>,
    /// Python requirements (PEP 508) the call needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<String>>,
    /// Debian packages the call needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_dependencies: Option<Vec<String>>,
    /// Local files shipped along: relative POSIX path to source.
    #[serde(deserialize_with = "null_is_default")]
    pub modules: BTreeMap<String, String>,
    /// `"function"` or `"class"`.
    #[serde(deserialize_with = "null_is_default")]
    pub execution_type: ExecutionType,
    /// Class to instantiate; required when `execution_type` is `"class"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Python source that defines the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_code: Option<String>,
    /// Positional constructor arguments, encoded like `args`; clients send them with every call.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub constructor_args: Vec<Payload<'a>>,
    /// Keyword constructor arguments, encoded like `kwargs`.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub constructor_kwargs: KeywordArguments<'a>,
    /// Method to call on the instance.
    #[serde(deserialize_with = "null_is_call")]
    pub method_name: String,
    /// Instance to call; unknown ids create it, a missing one gets an id of the worker's making.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Replace the instance even when it is known. Ignored without `instance_id`.
    #[serde(deserialize_with = "null_is_true")]
    pub create_new_instance: bool,
    /// Whether installs may use parallel downloads.
    #[serde(deserialize_with = "null_is_true")]
    pub accelerate_downloads: bool,
    /// How arguments and the result are encoded.
    #[serde(deserialize_with = "null_is_default")]
    pub serialization_format: SerializationFormat,
    /// Execution deadline in seconds; sent by 2.x task clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// What clients of ours ask for beyond what the others know.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Extras::is_default")]
    pub farcall: Extras,
    /// The wrapped form; taken apart by [`FunctionRequest::parse`].
    #[serde(borrow, skip_serializing)]
    input: Option<Box<Object<'a>>>,
}

/// A request that must be a JSON object: derived structs would accept arrays too.
#[derive(Debug, Clone, PartialEq)]
struct Object<'a>(FunctionRequest<'a>);

/// What a valid request asks for, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Call `name`, defined by `code`.
    Function {
        /// The function's name in the namespace that `code` makes.
        name: &'a str,
        /// Python source.
        code: &'a str,
    },
    /// Call `method` on an instance of `name`, defined by `code`.
    Class {
        /// The class's name in the namespace that `code` makes.
        name: &'a str,
        /// Python source.
        code: &'a str,
        /// The method's name.
        method: &'a str,
    },
}

/// Why a document is not a request that could be run.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not JSON.
    #[error("request is not valid JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// A field has the wrong type.
    #[error("invalid request: `{field}`: {source}")]
    Field {
        /// Path of the field, such as `kwargs.x`.
        field: String,
        /// What was wrong with it.
        source: serde_json::Error,
    },
    /// A field that this kind of request needs is missing or empty.
    #[error("{field} is required when execution_type is \"{execution_type}\"")]
    Missing {
        /// The field's name.
        field: &'static str,
        /// The request's kind.
        execution_type: ExecutionType,
    },
    /// `serialization_format` is neither of the two known ones.
    #[error("serialization_format `{0}` is not supported\nhint: use \"cloudpickle\" or \"json\"")]
    UnknownFormat(String),
    /// A key of `modules` does not stay inside the directory it is written to.
    #[error(
        "module path `{0}` leaves the modules directory\nhint: use a relative path such as `pkg/helper.py`"
    )]
    ModulePath(String),
}

impl RequestError {
    /// Whether the document is not even JSON, which HTTP answers with 400 rather than with a response.
    pub fn is_not_json(&self) -> bool {
        matches!(self, Self::NotJson(_))
    }
}

impl<'a> FunctionRequest<'a> {
    /// Reads a request, bare or wrapped in `{"input": ...}`. The result borrows its payloads from `json`.
    ///
    /// Checks types only; [`FunctionRequest::target`] checks that the request can be run.
    pub fn parse(json: &'a [u8]) -> Result<Self, RequestError> {
        match Outline::of(json).and_then(|outline| Self::parse_outline(&outline, json)) {
            Some(request) => Ok(request),
            None => Self::parse_whole(json),
        }
    }

    fn parse_whole(json: &'a [u8]) -> Result<Self, RequestError> {
        match serde_json::from_slice::<Object<'a>>(json) {
            Ok(Object(Self { input: Some(wrapped), .. })) => Ok(wrapped.0),
            Ok(Object(request)) => Ok(request),
            Err(error) if error.is_data() => Err(Self::locate(json, error)),
            Err(error) => Err(RequestError::NotJson(error)),
        }
    }

    /// Parses once more to find out which field is wrong: too slow to do for every request.
    fn locate(json: &'a [u8], error: serde_json::Error) -> RequestError {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        match serde_path_to_error::deserialize::<_, Object<'a>>(&mut deserializer) {
            Err(located) => {
                let path = located.path().to_string();
                let field = match path.strip_prefix("input.").unwrap_or(&path) {
                    "." => "request".to_owned(),
                    field => field.to_owned(),
                };
                RequestError::Field { field, source: located.into_inner() }
            }
            Ok(_) => RequestError::Field { field: "request".to_owned(), source: error },
        }
    }

    /// Whether what a generator yields goes to the client piece by piece, if it can: 2.x clients speak JSON and take
    /// the items as they come; 1.x clients need one object, and ours say it.
    pub fn wants_stream(&self) -> bool {
        self.serialization_format == SerializationFormat::Json || self.farcall.stream
    }

    /// Whether files come along, in the request or kept from an earlier one.
    pub fn ships_modules(&self) -> bool {
        !self.modules.is_empty() || self.farcall.modules.is_some()
    }

    /// Whether a failure's text is the traceback alone. Clients of the JSON format (2.x) expect that; 1.x
    /// clients expect the exception's message in front of it.
    pub fn wants_bare_traceback(&self) -> bool {
        self.serialization_format == SerializationFormat::Json
    }

    /// Checks that the request can be run and says what to run.
    pub fn target(&self) -> Result<Target<'_>, RequestError> {
        if let SerializationFormat::Other(name) = &self.serialization_format {
            return Err(RequestError::UnknownFormat(name.clone()));
        }
        for path in self.modules.keys() {
            check_module_path(path)?;
        }
        let kind = &self.execution_type;
        if matches!(kind, ExecutionType::Class) {
            return Ok(Target::Class {
                name: require(kind, "class_name", self.class_name.as_deref())?,
                code: require(kind, "class_code", self.class_code.as_deref())?,
                method: &self.method_name,
            });
        }
        Ok(Target::Function {
            name: require(kind, "function_name", self.function_name.as_deref())?,
            code: require(kind, "function_code", self.function_code.as_deref())?,
        })
    }
}

impl Default for FunctionRequest<'_> {
    fn default() -> Self {
        Self {
            function_name: None,
            function_code: None,
            args: Vec::new(),
            kwargs: KeywordArguments::default(),
            dependencies: None,
            system_dependencies: None,
            modules: BTreeMap::new(),
            execution_type: ExecutionType::Function,
            class_name: None,
            class_code: None,
            constructor_args: Vec::new(),
            constructor_kwargs: KeywordArguments::default(),
            method_name: "__call__".to_owned(),
            instance_id: None,
            create_new_instance: true,
            accelerate_downloads: true,
            serialization_format: SerializationFormat::Cloudpickle,
            timeout: None,
            farcall: Extras::default(),
            input: None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                FunctionRequest::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn require<'v>(
    kind: &ExecutionType,
    field: &'static str,
    value: Option<&'v str>,
) -> Result<&'v str, RequestError> {
    value
        .filter(|text| !text.is_empty())
        .ok_or_else(|| RequestError::Missing { field, execution_type: kind.clone() })
}

/// A module path is relative, POSIX, names a file, and has no part that climbs out.
fn check_module_path(path: &str) -> Result<(), RequestError> {
    let harmless = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if path.split('/').all(harmless) { Ok(()) } else { Err(RequestError::ModulePath(path.to_owned())) }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn null_is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}

fn null_is_call<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_else(|| "__call__".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_wrapped_requests_read_the_same() {
        let bare = br#"{"function_name":"f","function_code":"def f(): ...","args":["gAVLAS4="]}"#;
        let wrapped = [br#"{"id":"j1","input":"#.as_slice(), bare, b"}"].concat();
        assert_eq!(FunctionRequest::parse(bare).unwrap(), FunctionRequest::parse(&wrapped).unwrap());
    }

    #[test]
    fn null_means_the_default_for_every_field() {
        let fields = serde_json::to_value(FunctionRequest::default()).unwrap();
        let names = fields.as_object().unwrap().keys().map(String::as_str);
        let optional = ["function_name", "class_code", "dependencies", "instance_id", "timeout", "input"];
        for name in names.chain(optional) {
            let document = format!("{{\"{name}\": null}}");
            assert_eq!(
                FunctionRequest::parse(document.as_bytes()).unwrap(),
                FunctionRequest::default(),
                "{name}"
            );
        }
    }

    #[test]
    fn payloads_are_slices_of_the_document() {
        let document = br#"{"args":[{"a": 1}],"kwargs":{"z":"x","a":null}}"#;
        let request = FunctionRequest::parse(document).unwrap();
        assert_eq!(request.args[0].json(), br#"{"a": 1}"#);
        let range = document.as_ptr_range();
        assert!(range.contains(&request.args[0].json().as_ptr()));
        let names: Vec<_> = request.kwargs.iter().map(|(name, payload)| (name, payload.json())).collect();
        assert_eq!(names, [("z", b"\"x\"".as_slice()), ("a", b"null")]);
    }

    #[test]
    fn the_last_of_two_keyword_arguments_with_one_name_counts() {
        let request = FunctionRequest::parse(br#"{"kwargs":{"a":1,"b":2,"a":3}}"#).unwrap();
        let values: Vec<_> = request.kwargs.iter().map(|(name, payload)| (name, payload.json())).collect();
        assert_eq!(values, [("a", b"3".as_slice()), ("b", b"2")]);
    }

    #[test]
    fn errors_name_the_field() {
        let text = |json: &[u8]| FunctionRequest::parse(json).unwrap_err().to_string();
        insta::assert_snapshot!(text(br#"{"dependencies": [1]}"#), @"invalid request: `dependencies[0]`: invalid type: integer `1`, expected a string at line 1 column 19");
        insta::assert_snapshot!(text(br#"{"input": {"args": 3}}"#), @"invalid request: `args`: invalid type: integer `3`, expected a sequence at line 1 column 20");
        insta::assert_snapshot!(text(br#"{"input": [1]}"#), @"invalid request: `input`: invalid type: sequence, expected a JSON object at line 1 column 10");
        insta::assert_snapshot!(text(b"nonsense"), @"request is not valid JSON: expected ident at line 1 column 2");
        insta::assert_snapshot!(text(b"[]"), @"invalid request: `request`: invalid type: sequence, expected a JSON object at line 1 column 0");
        insta::assert_snapshot!(text(b"{"), @"request is not valid JSON: EOF while parsing an object at line 1 column 1");
    }

    #[test]
    fn a_request_that_cannot_run_says_what_is_missing() {
        let text =
            |json: &str| FunctionRequest::parse(json.as_bytes()).unwrap().target().unwrap_err().to_string();
        insta::assert_snapshot!(text("{}"), @r#"function_name is required when execution_type is "function""#);
        insta::assert_snapshot!(text(r#"{"function_name":"f"}"#), @r#"function_code is required when execution_type is "function""#);
        insta::assert_snapshot!(text(r#"{"execution_type":"class","function_name":"f"}"#), @r#"class_name is required when execution_type is "class""#);
        insta::assert_snapshot!(text(r#"{"execution_type":"class","class_name":"C","class_code":""}"#), @r#"class_code is required when execution_type is "class""#);
        insta::assert_snapshot!(text(r#"{"serialization_format":"xml"}"#), @r#"
        serialization_format `xml` is not supported
        hint: use "cloudpickle" or "json"
        "#);
    }

    #[test]
    fn unknown_execution_types_take_the_function_path() {
        let json = br#"{"execution_type":"task","function_name":"f","function_code":"pass"}"#;
        let request = FunctionRequest::parse(json).unwrap();
        assert_eq!(request.target().unwrap(), Target::Function { name: "f", code: "pass" });
    }

    #[test]
    fn module_paths_stay_inside() {
        for good in ["helper.py", "pkg/__init__.py", "a/b/c.py", "..a/b.py"] {
            assert!(check_module_path(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/etc/x.py", "../x.py", "a/../../x.py", "a//b.py", "a/", "./a.py", "a\\b.py", "a\0.py"]
        {
            assert!(check_module_path(bad).is_err(), "{bad}");
        }
    }
}
