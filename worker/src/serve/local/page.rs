//! The page at `/`, the reference at `/docs`, and what both are made from. One file each, nothing from outside.

use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page/index.html");
const DOCS: &str = include_str!("page/docs.html");
const OPENAPI: &str = include_str!("page/openapi.json");

static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| policy(PAGE));
static DOCS_POLICY: LazyLock<String> = LazyLock::new(|| policy(DOCS));

pub(super) async fn page() -> Response {
    html(PAGE, &PAGE_POLICY)
}

pub(super) async fn docs() -> Response {
    html(DOCS, &DOCS_POLICY)
}

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], OPENAPI).into_response()
}

fn html(page: &'static str, policy: &str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, page).into_response()
}

/// What the page's own script and style may do, and nothing else: they are named by their hashes.
fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let inside =
            page.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        let (text, _) = inside.unwrap_or_default();
        format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_one_script_one_style_and_nothing_from_outside() {
        for page in [PAGE, DOCS] {
            assert_eq!(page.matches("<script>").count(), 1);
            assert_eq!(page.matches("<style>").count(), 1);
            for way_in in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", " style=\"", "onclick=\""]
            {
                assert!(!page.contains(way_in), "{way_in}");
            }
            assert!(!page.contains("src=\"http") && !page.contains("@import"));
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
