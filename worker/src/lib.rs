//! Farcall's supervisor: everything that must never stop.
//!
//! This process maps no libpython: no interpreter lock, no segfault and no `sys.exit` of user code can reach
//! it. User code runs in runners ([`runner`]), child processes that may die at any time. A job's way through
//! is [`supervisor::Supervisor::execute`].

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod environment;
pub mod fitness;
mod gpu;
pub mod interpreter;
pub mod job;
pub mod output_log;
pub mod process;
mod readiness;
mod rest;
pub mod runner;
pub mod serve;
pub mod shipped;
pub mod subprocess;
pub mod supervisor;
pub mod telemetry;
