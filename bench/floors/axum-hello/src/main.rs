//! Reads a request's body and answers with a constant, on one thread as Farcall's supervisor does.

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use axum::serve::ListenerExt;

const ANSWER: &str = r#"{"success":true,"result":"gAVLAy4=","error":null,"stdout":"","json_result":null}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let routes = Router::new()
        .route("/ping", get(async || r#"{"status":"healthy"}"#))
        .route("/execute", post(async |_body: Bytes| ANSWER));
    axum::serve(listener, routes).await
}
