//! The page at `/`, the reference at `/docs`, and what both are made from. One file each, nothing from outside.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::Endpoint;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = concat!(
    include_str!("page/api.js"),
    include_str!("page/list.js"),
    include_str!("page/detail.js"),
    include_str!("page/form.js")
);
const OPENAPI: &str = include_str!("page/openapi.json");

/// What the page is told where any id is answered.
const ANY_ENDPOINT: &str = "local";

static PAGE: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("page/index.html"), SCRIPT));
static DOCS: LazyLock<Page> =
    LazyLock::new(|| Page::new(include_str!("page/docs.html"), include_str!("page/docs.js")));

/// A document with its style and script in it, and the policy that allows these and nothing else.
struct Page {
    html: String,
    policy: String,
}

impl Page {
    fn new(html: &str, script: &str) -> Self {
        let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(script),
            hash(STYLE)
        );
        Self { html: html.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", script), policy }
    }

    fn answer(&self, endpoint: &Endpoint) -> Response {
        // An id is letters, digits, `-` and `_`: it needs no escaping.
        let id = endpoint.config.endpoint.as_deref().unwrap_or(ANY_ENDPOINT);
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, &self.policy),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.html.replace("ENDPOINT_ID", id)).into_response()
    }
}

pub(super) async fn page(State(endpoint): State<Arc<Endpoint>>) -> Response {
    PAGE.answer(&endpoint)
}

pub(super) async fn docs(State(endpoint): State<Arc<Endpoint>>) -> Response {
    DOCS.answer(&endpoint)
}

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_one_script_one_style_and_nothing_from_outside() {
        for Page { html, policy } in [&*PAGE, &*DOCS] {
            assert!(html.matches("<script>").count() == 1 && html.matches("<style>").count() == 1);
            assert!(policy.matches("sha256-").count() == 2 && !policy.contains("unsafe"), "{policy}");
            for way_in in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", " style=", " onclick="]
            {
                assert!(!html.contains(way_in), "{way_in}");
            }
            assert!(
                !html.contains("src=\"http") && !html.contains("href=\"http") && !html.contains("@import")
            );
        }
    }

    #[test]
    fn the_reference_is_json_and_names_every_route() {
        let reference: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        for route in [
            "run",
            "runsync",
            "status/{job}",
            "stream/{job}",
            "cancel/{job}",
            "retry/{job}",
            "events/{job}",
            "request/{job}",
            "purge-queue",
            "health",
            "metrics",
            "jobs",
            "worker",
            "environments",
        ] {
            assert!(reference["paths"].get(format!("/v2/{{endpoint}}/{route}")).is_some(), "{route}");
        }
    }
}
