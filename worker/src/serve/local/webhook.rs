//! Webhooks: a job's document is posted to the URL it came with, until that takes it.
//!
//! ```text
//! farcall-signature: t=1767225600,v1=hex(HMAC-SHA256(secret, "1767225600" "." body))
//! ```
//!
//! What is due is in the database: it survives the end of this process. A receiver may get a document twice.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use sha2::Sha256;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use super::Endpoint;
use super::job::now_ms;
use super::store::Change;
use crate::job::on_one_line;
use crate::serve::backoff::Backoff;

/// Header that carries the time and the signature.
const SIGNATURE: &str = "farcall-signature";

/// How often a receiver is tried, over a quarter of an hour.
const TRIES: u32 = 10;

/// Longest wait for a receiver's answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receivers called at a time.
const AT_ONCE: usize = 32;

impl Endpoint {
    /// Calls the webhooks of jobs that have ended, as they come.
    pub(super) async fn call_webhooks(self: Arc<Self>, mut due: mpsc::UnboundedReceiver<String>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut client: Option<Client> = None;
        while let Some(id) = due.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // Made for the first one: reading the system's certificates takes time.
            let client = client.get_or_insert_with(|| {
                Client::builder()
                    .timeout(PATIENCE)
                    .redirect(reqwest::redirect::Policy::none())
                    .build()
                    .unwrap_or_default()
            });
            let (endpoint, client) = (Arc::clone(&self), client.clone());
            tokio::spawn(async move {
                endpoint.call_webhook(&id, &client).await;
                drop(place);
            });
        }
    }

    async fn call_webhook(&self, id: &str, client: &Client) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));
        for tried in 1..=TRIES {
            let Ok(Some((url, document))) = self.due_document(id).await else { return };
            match self.post(client, &url, document).await {
                Ok(()) => {
                    debug!(job = id, tried, "webhook called");
                    break;
                }
                Err(error) => warn!(job = id, tried, error = on_one_line(&error), "webhook not called"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.worker.draining.cancelled() => return, // it is due at the next start
            }
        }
        self.store.send(Change::Called { id: id.to_owned() });
    }

    /// Where to post what; nothing, if the job is gone or runs again.
    async fn due_document(&self, id: &str) -> Result<Option<(String, bytes::Bytes)>, super::StoreError> {
        let Some(document) = self.document(id).await? else { return Ok(None) };
        let record = self.store.find(id).await?.map(|(record, _)| record);
        Ok(record
            .filter(|record| record.status.is_final())
            .and_then(|record| Some((record.webhook?, document))))
    }

    async fn post(&self, client: &Client, url: &str, document: bytes::Bytes) -> Result<(), reqwest::Error> {
        let mut request = client.post(url).header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.config.webhook_secret {
            request = request.header(SIGNATURE, signature(secret, now_ms() / 1000, &document));
        }
        request.body(document).send().await?.error_for_status().map(drop)
    }
}

fn signature(secret: &str, time: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_of_time_and_body() {
        // printf '1.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1, b"{}"),
            "t=1,v1=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908"
        );
    }
}
