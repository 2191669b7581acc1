//! An endpoint as its clients see it: ours by its URL, `RunPod`'s by its id.

mod follow;

use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::{CommandError, EXIT_UNAVAILABLE};
use crate::config::Config;
use crate::job::with_causes;
pub(in crate::cli) use follow::Told;

/// How long an endpoint may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which endpoint to call.
#[derive(Debug, Args)]
pub(super) struct EndpointOptions {
    #[arg(
        long,
        short,
        value_name = "URL|ID",
        help = "URL of an endpoint, or id of one on RunPod [default: FARCALL_ENDPOINT, else http://127.0.0.1:PORT]"
    )]
    endpoint: Option<String>,
}

/// An endpoint to call.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    /// `http://127.0.0.1:8000/v2/local`
    base: String,
    key: Option<String>,
}

/// How an endpoint's name is read.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    base: String,
    is_by_id: bool,
}

impl EndpointOptions {
    pub(super) fn connect(&self, config: &Config) -> Result<Remote, CommandError> {
        let ours = format!("http://127.0.0.1:{}", config.port);
        let name = self.endpoint.as_ref().or(config.client.endpoint.as_ref()).unwrap_or(&ours);
        let id = config.local.endpoint.as_deref().unwrap_or("local");
        let Address { base, is_by_id } = Address::of(name, id, &config.client.base_url).ok_or_else(|| {
            CommandError::usage(format!("`{name}` is neither a URL nor the id of an endpoint"))
        })?;
        // A key goes to whom it is for, and to nobody else.
        let key = if is_by_id { config.client.api_key.clone() } else { config.api_key.clone() };
        if is_by_id && key.is_none() {
            return Err(CommandError::usage(format!(
                "RUNPOD_API_KEY is not set\nhint: endpoint `{name}` needs it; give a URL for one of your own"
            )));
        }
        let mut client = Client::builder().connect_timeout(Duration::from_secs(10)).tcp_nodelay(true);
        if base.starts_with("http://") {
            client = client.tls_certs_only([]); // reading the system's certificates takes time
        }
        Ok(Remote { client: client.build()?, base, key })
    }
}

impl Address {
    fn of(name: &str, id: &str, base_url: &str) -> Option<Self> {
        let name = name.trim_end_matches('/');
        if name.contains("://") {
            let path = reqwest::Url::parse(name).ok()?.path().trim_matches('/').to_owned();
            let base = match path.as_str() {
                "" => format!("{name}/v2/{id}"),
                "v2" => format!("{name}/{id}"),
                _ => name.to_owned(),
            };
            return Some(Self { base, is_by_id: false });
        }
        let is_id = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        is_id.then(|| Self { base: format!("{}/{name}", base_url.trim_end_matches('/')), is_by_id: true })
    }
}

impl Remote {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CommandError> {
        let unreachable = |why: String| CommandError {
            code: EXIT_UNAVAILABLE,
            text: format!(
                "the endpoint `{}` does not answer: {why}\nhint: `farcall serve` starts one here; --endpoint names another",
                self.base
            ),
        };
        match tokio::time::timeout(PATIENCE, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unreachable(with_causes(&error.without_url()))),
            Err(_) => Err(unreachable(format!("nothing within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Asks for JSON.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CommandError> {
        self.read(self.send(self.request(Method::GET, path).query(query)).await?).await
    }

    /// Posts JSON.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, CommandError> {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        self.read(self.send(request.body(body.to_string())).await?).await
    }

    async fn read(&self, response: Response) -> Result<Value, CommandError> {
        let status = response.status();
        let body = response.bytes().await?;
        let answer = serde_json::from_slice::<Value>(&body).ok();
        if let (true, Some(answer)) = (status.is_success(), &answer) {
            return Ok(answer.clone());
        }
        let reason =
            answer.as_ref().and_then(|answer| answer["error"].as_str()).unwrap_or_default().to_owned();
        let is_temporary = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let code = if is_temporary { EXIT_UNAVAILABLE } else { super::EXIT_USAGE };
        let colon = if reason.is_empty() { "" } else { ": " };
        Err(CommandError { code, text: format!("the endpoint answered {status}{colon}{reason}") })
    }
}

/// Whether a job's document says that it has ended.
pub(super) fn is_final(document: &Value) -> bool {
    matches!(document["status"].as_str(), Some("COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_named_by_urls_and_ids() {
        let base =
            |name: &str| Address::of(name, "local", "https://platform/v2/").map(|address| address.base);
        assert_eq!(base("http://127.0.0.1:8000").as_deref(), Some("http://127.0.0.1:8000/v2/local"));
        assert_eq!(base("http://h:1/v2/").as_deref(), Some("http://h:1/v2/local"));
        assert_eq!(base("https://h/v2/mine").as_deref(), Some("https://h/v2/mine"));
        assert_eq!(base("abc123").as_deref(), Some("https://platform/v2/abc123"));
        assert_eq!(base("a b"), None);
        assert_eq!(base("../x"), None);
    }
}
