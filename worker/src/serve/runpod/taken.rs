//! Jobs as the platform hands them out.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::offload::S3Config;

/// A job that was taken. One that cannot be run has the reason instead of an input: it is answered with it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) input: Result<Bytes, String>,
    pub(super) timeout: Option<Duration>,
    /// Where a result goes that is too large to be posted.
    pub(super) s3: Option<S3Config>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    policy: Option<Policy>,
    #[serde(rename = "s3Config", borrow)]
    s3: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Policy {
    /// Milliseconds.
    #[serde(rename = "executionTimeout")]
    execution_timeout: Option<f64>,
}

/// The jobs of a response, each judged by itself. The second part counts what could not even be answered, for
/// lack of an id.
pub(super) fn read(body: &Bytes) -> (Vec<Taken>, usize) {
    if body.is_empty() {
        return (Vec::new(), 0);
    }
    let list = serde_json::from_slice::<Vec<&RawValue>>(body);
    let Ok(elements) = list.or_else(|_| serde_json::from_slice(body).map(|element| vec![element])) else {
        return (Vec::new(), 1);
    };
    let count = elements.len();
    let jobs: Vec<Taken> = elements.into_iter().filter_map(|element| read_one(element.get(), body)).collect();
    let unanswerable = count - jobs.len();
    (jobs, unanswerable)
}

fn read_one(json: &str, body: &Bytes) -> Option<Taken> {
    let fields: Fields<'_> = match serde_json::from_str(json) {
        Ok(fields) => fields,
        Err(error) => {
            #[derive(Deserialize)]
            struct Id {
                id: String,
            }
            let Id { id } = serde_json::from_str(json).ok()?;
            return Some(Taken {
                id,
                input: Err(format!("malformed job: {error}")),
                timeout: None,
                s3: None,
            });
        }
    };
    let id = serde_json::from_str::<String>(fields.id?.get()).ok().filter(|id| !id.is_empty())?;
    let input = match fields.input {
        // The platform strips an empty input.
        None => Ok(Bytes::from_static(b"{}")),
        Some(input) if input.get().starts_with('{') => Ok(body.slice_ref(input.get().as_bytes())),
        Some(input) => {
            let shown: String = input.get().chars().take(40).collect();
            Err(format!("malformed input: expected an object, got `{shown}`"))
        }
    };
    let milliseconds =
        fields.policy.and_then(|policy| policy.execution_timeout).filter(|timeout| *timeout > 0.0);
    let timeout = milliseconds.and_then(|timeout| Duration::try_from_secs_f64(timeout / 1000.0).ok());
    // Incomplete credentials are as good as none: the answer says that it is too large.
    let s3 = fields.s3.and_then(|config| serde_json::from_str(config.get()).ok());
    Some(Taken { id, input, timeout, s3 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(body: &'static str) -> (Vec<(String, bool)>, usize) {
        let (jobs, unanswerable) = read(&Bytes::from_static(body.as_bytes()));
        (jobs.into_iter().map(|job| (job.id, job.input.is_ok())).collect(), unanswerable)
    }

    #[test]
    fn one_job_and_a_list_are_both_read() {
        assert_eq!(ids(r#"{"id":"a","input":{"x":1}}"#), (vec![("a".into(), true)], 0));
        assert_eq!(
            ids(r#"[{"id":"a"},{"id":"b","input":{}}]"#),
            (vec![("a".into(), true), ("b".into(), true)], 0)
        );
        assert_eq!(ids(""), (vec![], 0));
        assert_eq!(ids("[]"), (vec![], 0));
    }

    #[test]
    fn a_malformed_element_fails_alone() {
        let body = r#"[{"input":{}}, {"id":"a","input":[1]}, 7, {"id":3}, {"id":"b","policy":{"executionTimeout":"x"}}, {"id":"c"}]"#;
        let expected = vec![("a".into(), false), ("b".into(), false), ("c".into(), true)];
        assert_eq!(ids(body), (expected, 3));
        assert_eq!(ids("no json"), (vec![], 1));
    }

    #[test]
    fn the_input_is_a_slice_of_the_response() {
        let body = Bytes::from_static(br#"{"id":"a","input":{"x": 1},"policy":{"executionTimeout":1500}}"#);
        let (jobs, _) = read(&body);
        assert_eq!(jobs[0].input.as_ref().unwrap(), &Bytes::from_static(br#"{"x": 1}"#));
        assert_eq!(jobs[0].timeout, Some(Duration::from_millis(1500)));
    }
}
