//! Properties of the wire types: anything serialised parses back, and nothing makes the parser panic.

use farcall_protocol::codec::{PRELUDE_BYTES, Prelude};
use farcall_protocol::{FunctionRequest, FunctionResponse};
use proptest::prelude::*;
use serde_json::{Value, json};

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |x| x.is_finite()).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 18] = [
    "function_name",
    "function_code",
    "args",
    "kwargs",
    "dependencies",
    "system_dependencies",
    "modules",
    "execution_type",
    "class_name",
    "class_code",
    "constructor_args",
    "constructor_kwargs",
    "method_name",
    "instance_id",
    "create_new_instance",
    "serialization_format",
    "timeout",
    "input",
];

fn well_typed_request() -> impl Strategy<Value = Value> {
    let arguments = prop::collection::vec(json_value(), 0..4);
    let keywords = prop::collection::hash_map("\\PC{0,8}", json_value(), 0..4);
    let modules = prop::collection::hash_map("[a-z/.]{1,9}", ".*", 0..3);
    let requirements = prop::option::of(prop::collection::vec(".{0,12}", 0..3));
    (arguments, keywords, modules, requirements, ".{0,12}", any::<bool>(), ".{0,20}").prop_map(
        |(args, kwargs, modules, dependencies, name, flag, code)| {
            json!({
                "function_name": name, "function_code": code, "args": args, "kwargs": kwargs,
                "constructor_args": args, "constructor_kwargs": kwargs, "modules": modules,
                "dependencies": dependencies, "execution_type": name, "create_new_instance": flag,
                "serialization_format": "json", "method_name": code, "unknown": flag,
            })
        },
    )
}

proptest! {
    #[test]
    fn a_request_that_is_serialised_parses_back(value in well_typed_request()) {
        let text = value.to_string();
        let request = FunctionRequest::parse(text.as_bytes()).unwrap();
        let again = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(&request, &FunctionRequest::parse(again.as_bytes()).unwrap());
    }

    #[test]
    fn a_response_that_is_serialised_parses_back(
        success: bool, result: Option<String>, error: Option<String>, stdout: Option<String>, value in json_value(),
    ) {
        let json_result = (!value.is_null()).then(|| serde_json::value::to_raw_value(&value).unwrap());
        let response = FunctionResponse { success, result, json_result, error, stdout, ..Default::default() };
        let text = serde_json::to_string(&response).unwrap();
        prop_assert_eq!(&response, &serde_json::from_str::<FunctionResponse>(&text).unwrap());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = FunctionRequest::parse(&bytes);
    }

    #[test]
    fn no_document_makes_parser_or_validation_panic(
        fields in prop::collection::hash_map(prop::sample::select(&FIELDS[..]), json_value(), 0..8)
    ) {
        let text = serde_json::to_string(&fields).unwrap();
        match FunctionRequest::parse(text.as_bytes()) {
            Ok(request) => drop(request.target().map_err(|error| error.to_string())),
            Err(error) => prop_assert!(!error.is_not_json(), "{error}"),
        }
    }

    #[test]
    fn no_prelude_makes_the_codec_panic(bytes: [u8; PRELUDE_BYTES]) {
        let _ = Prelude::decode(bytes);
    }
}
