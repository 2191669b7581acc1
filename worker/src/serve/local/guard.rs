//! Who may call the endpoint. Requests are code: whoever may send one owns the machine.
//!
//! Three things stay apart: who (the API key), from where (loopback, unless there is a key), and on whose behalf:
//! a web page in the user's browser must reach us neither by a name that it has pointed here (`Host`) nor by a
//! request to another site than its own (`Origin`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Endpoint;
use crate::config::Config;
use crate::serve::http::{HttpError, authorize_any, json_response};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "this endpoint does not answer to the host name `{0}`\nhint: call it by 127.0.0.1 or localhost; FARCALL_ALLOWED_HOSTS adds names"
    )]
    Host(String),
    #[error("requests from other web sites are not taken: `{0}`")]
    Origin(String),
}

#[derive(Debug, Clone)]
struct Guard {
    endpoint: Arc<Endpoint>,
    /// Only this machine can connect: names are checked.
    is_loopback: bool,
}

/// Checks every request before its route sees it.
pub(super) fn protect(routes: Router, endpoint: &Arc<Endpoint>, is_loopback: bool) -> Router {
    let guard = Guard { endpoint: Arc::clone(endpoint), is_loopback };
    routes.layer(from_fn_with_state(guard, check))
}

/// Whether others than this machine could call an endpoint at these addresses, without a key.
pub(in crate::serve) fn is_open_to_all(config: &Config, addresses: &[IpAddr]) -> bool {
    let is_loopback = addresses.iter().all(IpAddr::is_loopback);
    !is_loopback && config.api_key.is_none() && !config.local.insecure
}

async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/ping" {
        return next.run(request).await; // health checks call by whatever name they know
    }
    let headers = request.headers();
    if let Err(refusal) = guard.check_names(headers) {
        return json_response(
            StatusCode::FORBIDDEN,
            json!({"error": refusal.to_string()}).to_string().into(),
        );
    }
    let needs_key = path.starts_with("/v2/") || path.starts_with("/flash/");
    if needs_key && let Err(error @ HttpError::Unauthorized) = authorize_any(&guard.endpoint.worker, headers)
    {
        return error.into_response();
    }
    next.run(request).await
}

impl Guard {
    fn check_names(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = text(header::HOST);
        if self.is_loopback && !self.is_known(host) {
            return Err(Refusal::Host(host.to_owned()));
        }
        // Browsers send it with everything but plain navigation; programs do not.
        let origin = text(header::ORIGIN);
        let site = origin.split_once("://").map_or(origin, |(_, site)| site);
        if !origin.is_empty() && site != host {
            return Err(Refusal::Origin(origin.to_owned()));
        }
        Ok(())
    }

    fn is_known(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        let allowed = &self.endpoint.config.allowed_hosts;
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || allowed.contains(&name)
    }
}

/// A host without its port, an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_without_ports_and_brackets() {
        assert_eq!(name_of("localhost:8000"), "localhost");
        assert_eq!(name_of("127.0.0.1"), "127.0.0.1");
        assert_eq!(name_of("[::1]:80"), "::1");
    }
}
