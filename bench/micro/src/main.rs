//! `micro NAME COUNT`: goes a path so many times, for valgrind to count. Without arguments, the paths' names.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, count) = match arguments.as_slice() {
        [] => {
            let listed = micro::names().join("\n");
            return ExitCode::from(u8::from(writeln!(std::io::stdout(), "{listed}").is_err()));
        }
        [name, count] => (name, count.parse::<usize>()),
        _ => return usage(),
    };
    let (Some(mut case), Ok(count)) = (micro::case(name), count) else { return usage() };
    for _ in 0..count {
        (case.work)();
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "micro: give it one of its names and a number, or nothing");
    ExitCode::from(64)
}
