//! Waiting for child processes: `wait4`, which no safe library offers.
//!
//! The supervisor forbids unsafe code; this crate holds the one system call it needs it for. `wait4` tells the
//! peak memory of the process it reaps, which nothing can find out afterwards.

#![deny(unsafe_code)]

pub mod leftovers;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Pid;

/// The end of a process.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// The most memory it ever had resident, in bytes.
    pub peak_memory_bytes: u64,
}

/// A child, or an adopted descendant, that has ended and is not reaped yet. Until [`reap`] its process id and
/// process group id cannot be given to another process.
pub fn next_ended() -> io::Result<Option<Pid>> {
    // SAFETY: all-zero is a valid `siginfo_t`, and what the system leaves where no child has ended.
    #[expect(unsafe_code, reason = "plain C struct")]
    let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is valid for writes for the duration of the call.
    #[expect(unsafe_code, reason = "the safe binding does not tell the process id")]
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut ended, options) };
    if result == -1 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) { Ok(None) } else { Err(error) };
    }
    // SAFETY: `waitid` has filled the fields of a child's end, or left them zero.
    #[expect(unsafe_code, reason = "the fields of a C union")]
    Ok(Pid::from_raw(unsafe { ended.si_pid() }))
}

/// Takes the end of a process that [`next_ended`] has named.
pub fn reap(pid: Pid) -> io::Result<Exit> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`, a struct of integers.
    #[expect(unsafe_code, reason = "plain C struct")]
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for writes for the duration of the call.
    #[expect(unsafe_code, reason = "wait4 has no safe binding")]
    let reaped =
        unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, &raw mut usage) };
    match reaped {
        -1 => Err(io::Error::last_os_error()),
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => {
            let kilobytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
            Ok(Exit { status: ExitStatus::from_raw(status), peak_memory_bytes: kilobytes << 10 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "the test reaps it itself")]
    fn an_ended_child_is_named_then_reaped_with_its_peak_memory() {
        let child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().expect("sh starts");
        let pid = Pid::from_child(&child);
        let ended = loop {
            if let Some(ended) = next_ended().expect("waitid works") {
                break ended;
            }
            std::thread::yield_now();
        };
        assert_eq!(ended, pid);
        assert_eq!(next_ended().expect("waitid works"), Some(pid), "naming it does not reap it");
        let exit = reap(pid).expect("it has ended");
        assert_eq!(exit.status.code(), Some(3));
        assert!(exit.peak_memory_bytes > 100_000, "{}", exit.peak_memory_bytes);
        assert!(reap(pid).is_err());
    }
}
