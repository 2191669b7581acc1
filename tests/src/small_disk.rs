//! A file system with little room, for one process and what it starts.

use std::process::Command;

/// Its arguments are a size, a directory (empty: that for temporary files), and what this becomes. Without its own
/// `/proc`, process ids stay those of the test.
const MOUNT: &str = "\
directory=${1:-$TMPDIR}
mkdir -p \"$directory\" && mount -t tmpfs -o size=\"$0\" none \"$directory\" && shift && exec \"$@\"";

/// What launches a program with so little room in a directory. `None`, said, where no test may mount anything.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn small_disk(size: &'static str, directory: &'static str) -> Option<[&'static str; 9]> {
    let launcher = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, size, directory];
    let place = tempfile::tempdir().expect("the temporary directory is writable");
    let tried = Command::new(launcher[0])
        .args(&launcher[1..])
        .arg("true")
        .current_dir(place.path())
        .env("TMPDIR", place.path())
        .output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(launcher);
    }
    eprintln!("skipped: this machine lets no test mount a file system");
    None
}
