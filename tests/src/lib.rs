//! What the end-to-end tests share: driving the real binary, building requests, finding interpreters.
//!
//! Nothing here knows how the worker is made. A test writes request files, runs `farcall` over them as a
//! person would, and reads what it prints.

mod binary;
mod farcall;
mod http;
mod interpreters;
mod local;
mod packages;
pub mod platform;
pub mod processes;
mod python;
mod queue_worker;
mod request;
mod small_disk;
mod uv;
mod wheels;
mod worker;

pub use binary::{binary, repository};
pub use farcall::{Answer, Farcall, Finished};
pub use http::{Connection, Event, Events, HttpAnswer};
pub use interpreters::{Installed, installed};
pub use local::{LocalEndpoint, LocalOptions};
pub use packages::Packages;
pub use python::Python;
pub use queue_worker::{QueueWorker, WORKER};
pub use request::{Request, class, function};
pub use small_disk::small_disk;
pub use uv::WatchedUv;
pub use wheels::{Package, WheelHouse, index_variables};
pub use worker::{PendingCall, Worker, WorkerOptions, value};

/// Waits for a condition for at most ten seconds, and says whether it came true.
pub fn wait_until(condition: impl Fn() -> bool) -> bool {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    true
}
