//! The runner: the process that runs user code.
//!
//! A cdylib for any CPython from 3.10 on. It is loaded either into a process that has loaded libpython
//! ([`farcall_runner_main`]) or as an extension module of a Python executable (`_farcall_runner.main`), and
//! from there on works the same: read a frame, run it on the main thread, answer.
//!
//! Blocking code on one thread; no tokio, no HTTP. Whatever ends this process is a result for the
//! supervisor, so nothing here tries to survive what user code does to it.

#![deny(unsafe_code)]

mod capture;
mod channel;
mod disk;
mod entry;
mod event_loop;
mod evidence;
mod failure;
mod instances;
mod invocation;
mod kept;
mod payload;
mod progress;
mod python;
mod shared;
mod shipped;
mod source;
mod template;

pub use entry::farcall_runner_main;
