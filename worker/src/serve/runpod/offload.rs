//! Results too large for the platform, put into the job's own bucket (`s3Config` of the job).
//!
//! The answer then carries, in place of the result, `{"s3": {"url", "bytes", "encoding"}}`: a link that can be
//! read for a week, and what is behind it.

use std::time::Duration;

use bytes::Bytes;
use farcall_protocol::FunctionResponse;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde::Deserialize;
use serde_json::json;

/// How long the link can be read: the most that S3 signs for.
const LINK_LIFE: Duration = Duration::from_hours(7 * 24);

/// How long the upload may take.
const UPLOAD_TIME: Duration = Duration::from_mins(10);

/// `s3Config` of a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct S3Config {
    access_id: String,
    access_secret: String,
    bucket_name: String,
    endpoint_url: String,
}

/// Why a result is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub(super) enum OffloadError {
    #[error("`{0}` in s3Config is no URL of a bucket")]
    Bucket(String),
    #[error("the bucket could not be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the bucket answered {0}")]
    Refused(reqwest::StatusCode),
}

/// Uploads the response's result and puts the link in its place.
pub(super) async fn offload(
    config: &S3Config,
    job: &str,
    mut response: FunctionResponse,
) -> Result<FunctionResponse, OffloadError> {
    let (body, encoding) = match (response.result.take(), response.json_result.take()) {
        (Some(pickle), _) => (Bytes::from(pickle), "base64 pickle"),
        (None, Some(json)) => (Bytes::from(String::from(Box::<str>::from(json))), "json"),
        (None, None) => return Ok(response),
    };
    let invalid = || OffloadError::Bucket(config.endpoint_url.clone());
    let endpoint = config.endpoint_url.parse().map_err(|_| invalid())?;
    let bucket =
        Bucket::new(endpoint, UrlStyle::Path, config.bucket_name.clone(), "auto").map_err(|_| invalid())?;
    let credentials = Credentials::new(&config.access_id, &config.access_secret);
    let key = format!("farcall/{job}");
    let bytes = body.len();
    let upload = bucket.put_object(Some(&credentials), &key).sign(UPLOAD_TIME);
    let sent = reqwest::Client::new().put(upload).body(body).timeout(UPLOAD_TIME).send().await?;
    if !sent.status().is_success() {
        return Err(OffloadError::Refused(sent.status()));
    }
    let url = bucket.get_object(Some(&credentials), &key).sign(LINK_LIFE);
    let link = json!({"s3": {"url": url.as_str(), "bytes": bytes, "encoding": encoding}});
    response.json_result = serde_json::value::to_raw_value(&link).ok();
    Ok(response)
}
