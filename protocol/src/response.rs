//! `FunctionResponse`: what a client gets back.
//!
//! Every field is always written, `null` included: flash's pydantic model and runpod 2.x read it that way.
//! A failure has `success: false` and its text in `error`, never in `result`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::plain::is_plain;

/// Results from this size on are sent from where they are; a smaller one is copied faster than it is looked
/// after. In bytes.
const WORTH_A_PIECE: usize = 64 << 10;

/// The answer to one request. Field names are the wire's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionResponse {
    /// Whether the call returned.
    pub success: bool,
    /// base64 of the pickled result, when the request asked for cloudpickle.
    pub result: Option<String>,
    /// The result itself, when the request asked for JSON. A result of `None` is `null` here.
    pub json_result: Option<Box<RawValue>>,
    /// What went wrong: message and traceback.
    pub error: Option<String>,
    /// Everything the call printed, standard output and standard error in order.
    pub stdout: Option<String>,
    /// The instance that was called.
    pub instance_id: Option<String>,
    /// What is known about that instance.
    pub instance_info: Option<InstanceInfo>,
    /// What kind of failure it was, and what there is to know about it: an object with `kind`. Only there for
    /// requests that ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<RawValue>>,
}

/// Bookkeeping about a class instance, as the reference worker reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// The instance's class.
    pub class_name: String,
    /// Local time of creation, ISO 8601 without zone.
    pub created_at: String,
    /// Calls made so far, this one included.
    pub method_calls: u64,
    /// Local time of the last call, ISO 8601 without zone.
    pub last_used: String,
}

impl FunctionResponse {
    /// A failure with nothing but a text.
    pub fn failure(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    /// The response as JSON. The result, which may be megabytes of base64, is copied without being parsed.
    pub fn to_json(&self) -> Vec<u8> {
        self.write(true)
    }

    /// The response as JSON, in pieces to be sent one after another: a large result is one of them, not copied.
    pub fn into_json_pieces(mut self) -> Vec<Vec<u8>> {
        let is_large = |length: usize| length >= WORTH_A_PIECE;
        let result = self.result.take_if(|text| is_large(text.len()) && is_plain(text.as_bytes()));
        let json = self.json_result.take_if(|json| result.is_none() && is_large(json.get().len()));
        let mut head = self.to_json();
        let (field, value, quote) = match (result, json) {
            (Some(text), _) => (",\"result\":", text, "\""),
            (None, Some(json)) => (",\"json_result\":", Box::<str>::from(json).into_string(), ""),
            (None, None) => return vec![head],
        };
        // Nothing that a user wrote comes before it.
        let start = head.windows(field.len()).position(|window| window == field.as_bytes());
        let mut tail = head.split_off(start.expect("every field is written") + field.len());
        head.extend_from_slice(quote.as_bytes());
        tail.splice(.."null".len(), quote.bytes());
        vec![head, value.into_bytes(), tail]
    }

    /// The response as the `output` of a queue job: without `error`, which travels beside it. Clients of the
    /// 2.x generation take an output that has the key for a failure, whatever its value.
    pub fn to_output_json(&self) -> Vec<u8> {
        self.write(false)
    }

    fn write(&self, with_error: bool) -> Vec<u8> {
        let mut json = Vec::with_capacity(256 + self.result.as_ref().map_or(0, String::len));
        json.extend_from_slice(if self.success { b"{\"success\":true" } else { b"{\"success\":false" });
        json.extend_from_slice(b",\"result\":");
        match self.result.as_deref() {
            Some(result) if is_plain(result.as_bytes()) => {
                json.push(b'"');
                json.extend_from_slice(result.as_bytes());
                json.push(b'"');
            }
            result => append(&mut json, &result),
        }
        json.extend_from_slice(b",\"json_result\":");
        append(&mut json, &self.json_result);
        if with_error {
            json.extend_from_slice(b",\"error\":");
            append(&mut json, &self.error);
        }
        json.extend_from_slice(b",\"stdout\":");
        append(&mut json, &self.stdout);
        json.extend_from_slice(b",\"instance_id\":");
        append(&mut json, &self.instance_id);
        json.extend_from_slice(b",\"instance_info\":");
        append(&mut json, &self.instance_info);
        if let Some(failure) = &self.failure {
            json.extend_from_slice(b",\"failure\":");
            json.extend_from_slice(failure.get().as_bytes());
        }
        json.push(b'}');
        json
    }
}

fn append(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).expect("strings, numbers and checked JSON always serialise");
}

impl PartialEq for FunctionResponse {
    fn eq(&self, other: &Self) -> bool {
        let text = |json: &Option<Box<RawValue>>| json.as_deref().map(RawValue::get).map(str::to_owned);
        self.success == other.success
            && self.result == other.result
            && text(&self.json_result) == text(&other.json_result)
            && text(&self.failure) == text(&other.failure)
            && self.error == other.error
            && self.stdout == other.stdout
            && self.instance_id == other.instance_id
            && self.instance_info == other.instance_info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_written() {
        insta::assert_snapshot!(serde_json::to_string(&FunctionResponse::failure("no")).unwrap(), @r#"{"success":false,"result":null,"json_result":null,"error":"no","stdout":null,"instance_id":null,"instance_info":null}"#);
    }

    #[test]
    fn all_ways_of_writing_agree() {
        let responses = [
            FunctionResponse { success: true, result: Some("gAROLg==".into()), ..Default::default() },
            FunctionResponse {
                result: Some(String::new()),
                stdout: Some("\"null\"\n".into()),
                ..Default::default()
            },
            FunctionResponse {
                success: true,
                result: Some("needs \"escapes\" é".into()),
                ..Default::default()
            },
            FunctionResponse { result: Some("A".repeat(WORTH_A_PIECE)), ..Default::default() },
            FunctionResponse { result: Some("é".repeat(WORTH_A_PIECE)), ..Default::default() },
            FunctionResponse {
                json_result: RawValue::from_string(format!("[{}1]", "1, ".repeat(WORTH_A_PIECE))).ok(),
                stdout: Some(",\"result\":null".into()),
                ..Default::default()
            },
            FunctionResponse::failure("no"),
            FunctionResponse {
                failure: RawValue::from_string(r#"{"kind":"died"}"#.to_owned()).ok(),
                ..FunctionResponse::failure("no")
            },
        ];
        for response in responses {
            assert_eq!(response.clone().into_json_pieces().concat(), response.to_json());
            assert_eq!(response.to_json(), serde_json::to_vec(&response).unwrap());
            let mut output: serde_json::Value = serde_json::from_slice(&response.to_output_json()).unwrap();
            output["error"] = response.error.clone().into();
            assert_eq!(output, serde_json::to_value(&response).unwrap());
        }
    }
}
