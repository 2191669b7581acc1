//! A large document without what makes it large: the contents of its long plain strings.
//!
//! ```text
//!  {"args":["gASVAAAA... 9 MB ..."]}      document
//!  {"args":[""]}                          outline, which is parsed
//!          └┘ ─────▶ a slice of the document: what was left out before it and in it is added to its offsets
//! ```
//!
//! `serde_json` looks at each byte of a string, and then at each again; here one pass finds that it is plain, which
//! makes it valid JSON whatever is around it. The request's payloads become slices of the document again. Whatever
//! does not fit (a document that is not valid, a long string that is no payload's) is parsed as it stands.

use std::ops::Range;

use super::{FunctionRequest, Payload};
use crate::plain::plain_length;

/// Strings from this length on are left out. Finding them costs a pass over the document, which shorter ones are not
/// worth.
const LONG: usize = 64 << 10;

/// A document without its long strings.
#[derive(Debug)]
pub(super) struct Outline {
    /// The document, the long strings empty.
    text: Vec<u8>,
    cuts: Vec<Cut>,
}

/// A string that was left out.
#[derive(Debug)]
struct Cut {
    /// Where it would be in the outline.
    at: usize,
    length: usize,
}

impl Outline {
    /// The outline of a document that has long strings.
    pub(super) fn of(document: &[u8]) -> Option<Self> {
        Self::with_strings_from(document, LONG)
    }

    fn with_strings_from(document: &[u8], long: usize) -> Option<Self> {
        if document.len() < long {
            return None;
        }
        let mut outline = Self { text: Vec::new(), cuts: Vec::new() };
        let (mut copied, mut place) = (0, 0);
        while let Some(quote) = document[place..].iter().position(|byte| *byte == b'"') {
            let start = place + quote + 1;
            let plain = start + plain_length(&document[start..]);
            if plain - start >= long && document.get(plain) == Some(&b'"') {
                outline.text.extend_from_slice(&document[copied..start]);
                outline.cuts.push(Cut { at: outline.text.len(), length: plain - start });
                copied = plain;
            }
            place = end_of_string(document, plain)? + 1;
        }
        outline.text.extend_from_slice(&document[copied..]);
        Some(outline).filter(|outline| !outline.cuts.is_empty())
    }

    /// Where in the document what lies at `range` of the outline is.
    fn locate(&self, range: &Range<usize>) -> Range<usize> {
        let before = self.cuts.partition_point(|cut| cut.at <= range.start);
        let inside = self.cuts.partition_point(|cut| cut.at < range.end);
        let length = |cuts: &[Cut]| cuts.iter().map(|cut| cut.length).sum::<usize>();
        let start = range.start + length(&self.cuts[..before]);
        start..start + range.len() + length(&self.cuts[before..inside])
    }

    /// Whether all that was left out lies in one of `ranges` of the outline.
    fn is_covered_by(&self, ranges: &[Range<usize>]) -> bool {
        self.cuts.iter().all(|cut| ranges.iter().any(|range| range.contains(&cut.at)))
    }
}

impl<'a> FunctionRequest<'a> {
    /// Reads a large request by its outline. `None` if something long is no payload, or anything is wrong.
    pub(super) fn parse_outline(outline: &Outline, json: &'a [u8]) -> Option<Self> {
        let request = FunctionRequest::parse_whole(&outline.text).ok()?;
        let mut payloads = Vec::new();
        let request = request.with_payloads(|payload| {
            let start = payload.json().as_ptr().addr() - outline.text.as_ptr().addr();
            let range = start..start + payload.json().len();
            let located = Payload::new(&json[outline.locate(&range)]);
            payloads.push(range);
            located
        });
        Some(request).filter(|_| outline.is_covered_by(&payloads))
    }

    /// The same request, each payload exchanged.
    fn with_payloads<'d>(self, mut exchange: impl FnMut(Payload<'a>) -> Payload<'d>) -> FunctionRequest<'d> {
        FunctionRequest {
            args: self.args.into_iter().map(&mut exchange).collect(),
            kwargs: self.kwargs.map(&mut exchange),
            constructor_args: self.constructor_args.into_iter().map(&mut exchange).collect(),
            constructor_kwargs: self.constructor_kwargs.map(&mut exchange),
            function_name: self.function_name,
            function_code: self.function_code,
            dependencies: self.dependencies,
            system_dependencies: self.system_dependencies,
            modules: self.modules,
            execution_type: self.execution_type,
            class_name: self.class_name,
            class_code: self.class_code,
            method_name: self.method_name,
            instance_id: self.instance_id,
            create_new_instance: self.create_new_instance,
            accelerate_downloads: self.accelerate_downloads,
            serialization_format: self.serialization_format,
            timeout: self.timeout,
            farcall: self.farcall,
            input: None, // taken apart
        }
    }
}

/// The quote that ends a string, looked for from `place` in it: a place before which nothing is escaped.
fn end_of_string(document: &[u8], mut place: usize) -> Option<usize> {
    loop {
        match document.get(place)? {
            b'"' => return Some(place),
            b'\\' => place += 2,
            _ => place += 1 + plain_length(&document[place + 1..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn outline(document: &str) -> Option<String> {
        let outline = Outline::with_strings_from(document.as_bytes(), 4)?;
        Some(String::from_utf8(outline.text).unwrap())
    }

    #[test]
    fn long_plain_strings_are_left_out_and_nothing_else_is() {
        assert_eq!(outline(r#"{"a":"AAAA","b":["BBBBBB",1]}"#).unwrap(), r#"{"a":"","b":["",1]}"#);
        assert_eq!(outline(r#"{"a":"AAA\"","b":"é}}}}}"}"#), None);
        assert_eq!(outline(r#"["\\","\\\"","AAAA"]"#).unwrap(), r#"["\\","\\\"",""]"#);
        assert_eq!(outline(r#"["AAAA"#), None);
        assert_eq!(outline(r#"["\"#), None);
    }

    #[test]
    fn places_in_the_outline_are_found_in_the_document() {
        let document = r#"["AAAA",[1,"BBBBB","CCCC"],"x"]"#;
        let outline = Outline::with_strings_from(document.as_bytes(), 4).unwrap();
        let text = std::str::from_utf8(&outline.text).unwrap();
        let found = |part: &str| {
            let start = text.find(part).unwrap();
            &document[outline.locate(&(start..start + part.len()))]
        };
        assert_eq!(text, r#"["",[1,"",""],"x"]"#);
        assert_eq!(found(r#""""#), r#""AAAA""#);
        assert_eq!(found(r#"[1,"",""]"#), r#"[1,"BBBBB","CCCC"]"#);
        assert_eq!(found(r#""x""#), r#""x""#);
        assert_eq!(found(text), document);
    }

    proptest! {
        #[test]
        fn an_outline_never_makes_a_difference(texts in prop::collection::vec("[a-z\"\\\\é\n]{0,12}", 6)) {
            let value = json!({
                "function_name": texts[0], "args": [texts[1], {texts[2].clone(): [texts[3], 1]}],
                "kwargs": {texts[4].clone(): texts[5]}, "unknown": texts[0].len(),
            });
            let document = value.to_string().into_bytes();
            let whole = FunctionRequest::parse_whole(&document).unwrap();
            let outline = Outline::with_strings_from(&document, 4);
            if let Some(request) = outline.and_then(|it| FunctionRequest::parse_outline(&it, &document)) {
                prop_assert_eq!(request, whole);
            }
        }
    }

    #[test]
    fn a_request_is_the_same_by_its_outline() {
        let long = "A".repeat(100_000);
        let documents = [
            r#"{"args":["LONG",{"a":["LONG",1,"LONG"]},2],"kwargs":{"x":"LONG","y":"s"},"modules":{"m.py":"1"}}"#,
            r#"{"id":"1","input":{"function_name":"f","constructor_args":["LONG"],"constructor_kwargs":{"k":"LONG"}}}"#,
            r#"{"args":["é\"LONG","LONG"],"function_code":"def f():\n    return '\\'\n"}"#,
            // What is left out is no payload: the source, a field that nobody knows.
            r#"{"args":["LONG"],"function_code":"LONG"}"#,
            r#"{"args":["LONG"],"unknown":"LONG"}"#,
        ];
        for document in documents {
            let document = document.replace("LONG", &long);
            let whole = FunctionRequest::parse_whole(document.as_bytes()).unwrap();
            assert_eq!(FunctionRequest::parse(document.as_bytes()).unwrap(), whole, "{}", &document[..40]);
        }
        let by_outline = |document: &str| {
            let document = document.replace("LONG", &long);
            let outline = Outline::of(document.as_bytes()).unwrap();
            FunctionRequest::parse_outline(&outline, document.as_bytes()).is_some()
        };
        assert_eq!(documents.map(by_outline), [true, true, true, false, false]);
        let cut = format!("{{\"args\":[\"{long}\",}}");
        insta::assert_snapshot!(FunctionRequest::parse(cut.as_bytes()).unwrap_err().to_string(), @"request is not valid JSON: expected value at line 1 column 100013");
    }
}
