//! `farcall doctor --ready`: whether the worker that runs here takes jobs. For health checks: it starts nothing, needs
//! no Python, and takes a millisecond.

use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::CommandError;
use super::terminal::Terminal;
use crate::readiness::{Asked, State, ask_all};

/// All workers that are here have to be ready, and one has to be.
pub(super) fn run(as_json: bool, terminal: Terminal) -> Result<ExitCode, CommandError> {
    let workers = ask_all();
    let is_ready = !workers.is_empty() && workers.iter().all(|asked| matches!(asked.state, Ok(State::Ready)));
    if as_json {
        let workers: Vec<Value> = workers.iter().map(described).collect();
        terminal.line(&serde_json::to_string(&json!({"ready": is_ready, "workers": workers}))?);
    } else if workers.is_empty() {
        terminal.line("no worker is running here\nhint: `farcall serve` starts one");
    } else {
        workers.iter().for_each(|asked| terminal.line(&sentence(asked)));
    }
    Ok(u8::from(!is_ready).into())
}

fn sentence(asked: &Asked) -> String {
    let process = asked.process;
    match &asked.state {
        Ok(state) => format!("the worker (process {process}) {}", state.meaning()),
        Err(error) => format!("the worker (process {process}) does not answer: {}", reason(error)),
    }
}

fn described(asked: &Asked) -> Value {
    match &asked.state {
        Ok(state) => json!({"process": asked.process, "state": state.word()}),
        Err(error) => json!({"process": asked.process, "state": null, "error": reason(error)}),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        // What a read timeout is called.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it hangs".to_owned(),
        _ => error.to_string(),
    }
}
