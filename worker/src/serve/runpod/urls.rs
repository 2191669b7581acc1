//! The platform's URL templates.
//!
//! `$ID` is the worker in the take template and the job in the others, and parameters are appended with `&`
//! because the templates bring their own `?` (contract 2.1). Where one does not, `?` begins them.

/// The URLs of one worker.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    take: String,
    answer: String,
    stream: Option<String>,
    ping: Option<String>,
}

impl Urls {
    pub(super) fn new(config: &crate::config::PlatformConfig, worker_id: &str) -> Self {
        let of_worker = |url: &str| url.replace("$RUNPOD_POD_ID", worker_id);
        Self {
            take: of_worker(&config.take_url).replace("$ID", worker_id),
            answer: of_worker(&config.answer_url),
            stream: config.stream_url.as_deref().map(of_worker),
            ping: config.ping_url.as_deref().map(of_worker),
        }
    }

    /// Takes one job.
    pub(super) fn take(&self, in_progress: bool) -> String {
        with_parameters(&self.take, &format!("job_in_progress={}", u8::from(in_progress)))
    }

    /// Takes several jobs, if the platform has that route.
    pub(super) fn take_batch(&self, size: usize, in_progress: bool) -> Option<String> {
        let url = self.other_route("/job-take-batch/")?;
        Some(with_parameters(&url, &format!("batch_size={size}&job_in_progress={}", u8::from(in_progress))))
    }

    /// Tells which jobs to stop.
    pub(super) fn stop(&self) -> Option<String> {
        self.other_route("/job-stop/")
    }

    pub(super) fn answer(&self, job: &str, is_stream: bool) -> String {
        with_parameters(&self.answer.replace("$ID", job), &format!("isStream={is_stream}"))
    }

    pub(super) fn chunk(&self, job: &str) -> Option<String> {
        Some(with_parameters(&self.stream.as_ref()?.replace("$ID", job), "isStream=false"))
    }

    pub(super) fn ping(&self) -> Option<&str> {
        self.ping.as_deref()
    }

    /// Whether any of them needs TLS.
    pub(super) fn are_secure(&self) -> bool {
        let others = [&self.stream, &self.ping].into_iter().flatten();
        [&self.take, &self.answer].into_iter().chain(others).any(|url| url.starts_with("https:"))
    }

    fn other_route(&self, route: &str) -> Option<String> {
        self.take.contains("/job-take/").then(|| self.take.replace("/job-take/", route))
    }
}

fn with_parameters(url: &str, parameters: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn urls(query: &str) -> Urls {
        let base = "https://host/v2/ep";
        let variables = [
            ("RUNPOD_WEBHOOK_GET_JOB", format!("{base}/job-take/$ID{query}")),
            ("RUNPOD_WEBHOOK_POST_OUTPUT", format!("{base}/job-done/$RUNPOD_POD_ID/$ID{query}")),
            ("RUNPOD_WEBHOOK_POST_STREAM", format!("{base}/job-stream/$RUNPOD_POD_ID/$ID{query}")),
            ("RUNPOD_WEBHOOK_PING", format!("{base}/ping/$RUNPOD_POD_ID{query}")),
        ];
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        let config = Config::read(lookup).unwrap().platform.unwrap();
        Urls::new(&config, "pod1")
    }

    #[test]
    fn templates_are_filled_in_as_the_sdk_does() {
        let urls = urls("?gpu=A");
        assert_eq!(urls.take(true), "https://host/v2/ep/job-take/pod1?gpu=A&job_in_progress=1");
        let batch = urls.take_batch(3, false).unwrap();
        assert_eq!(batch, "https://host/v2/ep/job-take-batch/pod1?gpu=A&batch_size=3&job_in_progress=0");
        assert_eq!(urls.stop().unwrap(), "https://host/v2/ep/job-stop/pod1?gpu=A");
        assert_eq!(urls.answer("j1", true), "https://host/v2/ep/job-done/pod1/j1?gpu=A&isStream=true");
        assert_eq!(urls.chunk("j1").unwrap(), "https://host/v2/ep/job-stream/pod1/j1?gpu=A&isStream=false");
        assert_eq!(urls.ping().unwrap(), "https://host/v2/ep/ping/pod1?gpu=A");
        assert!(urls.are_secure());
    }

    #[test]
    fn a_template_without_a_query_gets_one() {
        assert_eq!(urls("").take(false), "https://host/v2/ep/job-take/pod1?job_in_progress=0");
    }
}
