//! How a platform behaves, and the variables that lead workers and clients to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a test may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens: loopback, unless clients are in containers.
    pub host: IpAddr,
    /// The port; 0 for any.
    pub port: u16,
    /// The endpoint that workers serve. Every job goes to it, whatever endpoint a client has made.
    pub endpoint: String,
    /// The key that workers must send, raw.
    pub key: String,
    /// How long a take or stop waits for something to say.
    pub poll: Duration,
    /// What workers are told as `RUNPOD_PING_INTERVAL`. Whole seconds, for the reference's sake.
    pub ping_interval: Duration,
    /// How long a job may go unmentioned (in pings, progress, chunks) before it is queued again.
    pub requeue_after: Option<Duration>,
    /// How long an answer may still come after the worker was told to stop its job.
    pub stop_grace: Duration,
    /// How many jobs the worker may ask for at once, if the test knows.
    pub slots: Option<usize>,
    /// Whether requests are kept. A benchmark has no use for them.
    pub record: bool,
    /// Of the randomness of faults.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            endpoint: "ep".to_owned(),
            key: "worker-key".to_owned(),
            poll: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            requeue_after: Some(Duration::from_secs(5)),
            stop_grace: Duration::from_secs(5),
            slots: None,
            record: true,
            seed: 1,
        }
    }
}

impl Settings {
    /// How long a worker may be silent: three intervals, and what a loaded machine takes.
    pub(super) fn ping_limit(&self) -> Duration {
        3 * self.ping_interval + Duration::from_secs(2)
    }

    pub(super) fn worker_variables(&self, address: SocketAddr, worker: &str) -> Vec<(String, String)> {
        let base = format!("http://{address}/v2/{}", self.endpoint);
        let own = [
            ("RUNPOD_WEBHOOK_GET_JOB", format!("{base}/job-take/$ID?gpu=fake")),
            ("RUNPOD_WEBHOOK_POST_OUTPUT", format!("{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=fake")),
            ("RUNPOD_WEBHOOK_POST_STREAM", format!("{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=fake")),
            ("RUNPOD_WEBHOOK_PING", format!("{base}/ping/$RUNPOD_POD_ID?gpu=fake")),
            ("RUNPOD_AI_API_KEY", self.key.clone()),
            ("RUNPOD_POD_ID", worker.to_owned()),
            ("RUNPOD_ENDPOINT_ID", self.endpoint.clone()),
            ("RUNPOD_PING_INTERVAL", self.ping_interval.as_millis().to_string()),
        ];
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// flash wants its data plane under `/v2`; runpod 2 any other prefix, for `/v2` is its control plane.
    pub(super) fn client_variables(address: SocketAddr) -> Vec<(String, String)> {
        let base = format!("http://{address}");
        let own = [
            ("RUNPOD_API_KEY", "client-key".to_owned()),
            ("RUNPOD_API_BASE_URL", base.clone()),
            ("RUNPOD_ENDPOINT_BASE_URL", format!("{base}/ai")),
            ("RUNPOD_REST_API_URL", format!("{base}/rest")),
            ("RUNPOD_HAPI_URL", format!("{base}/hapi")),
            ("RUNPOD_CONSOLE_URL", format!("{base}/console")),
        ];
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
