//! What the end-to-end tests share: driving the real binary, building requests, finding interpreters.
//!
//! Nothing here knows how the worker is made. A test writes request files, runs `farcall` over them as a
//! person would, and reads what it prints.

mod binary;
mod farcall;
mod interpreters;
mod python;
mod request;

pub use binary::{binary, repository};
pub use farcall::{Answer, Farcall, Finished};
pub use interpreters::{Installed, installed};
pub use python::Python;
pub use request::{Request, class, function};
