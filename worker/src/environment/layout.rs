//! The layout of an environment: a virtual environment that sees the interpreter's own packages behind its own.
//!
//! Made by hand: `python -m venv` takes a second, and `uv venv` cannot put one environment behind another.
//! What is written here is what Python's `site` module and uv read.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::interpreter::Site;

/// Makes the packages behind it visible. Its name sorts after those of packages that bring such a file.
const BASE_LINK: &str = "zz_farcall_base.pth";

/// Entries of a prefix that belong to the interpreter, or that Python finds by other ways.
const NOT_DATA: [&str; 7] = ["bin", "include", "lib", "lib32", "lib64", "pyvenv.cfg", "sbin"];

/// Makes an empty environment of the interpreter of `site` in an empty directory.
pub(super) fn lay_out(directory: &Path, site: &Site, version: &str) -> io::Result<()> {
    let home = site.base_executable.parent().unwrap_or(Path::new("/"));
    let settings = format!(
        "home = {}\ninclude-system-site-packages = false\nversion = {version}\nrelocatable = true\n",
        home.display()
    );
    fs::write(directory.join("pyvenv.cfg"), settings)?;
    let programs = directory.join("bin");
    fs::create_dir(&programs)?;
    symlink(&site.base_executable, programs.join("python"))?;
    symlink("python", programs.join("python3"))?;
    if let Some(name) =
        site.base_executable.file_name().filter(|name| *name != "python" && *name != "python3")
    {
        symlink("python", programs.join(name))?;
    }
    let packages = directory.join(&site.purelib);
    fs::create_dir_all(&packages)?;
    fs::write(packages.join(BASE_LINK), base_link(&site.directories))
}

/// Lines that `site` executes: they add the directories behind all others, with their own `.pth` files.
fn base_link(directories: &[PathBuf]) -> String {
    let line = |directory: &PathBuf| {
        let quoted = serde_json::to_string(&directory.to_string_lossy()).unwrap_or_default();
        format!("import site, sys; {quoted} in sys.path or site.addsitedir({quoted})\n")
    };
    directories.iter().map(line).collect()
}

/// Makes the data files of the interpreter's own packages visible in the environment as well, where programs
/// look for both: below `sys.prefix`. Packages bring theirs in directories such as `share/jupyter`.
pub(super) fn link_data(directory: &Path, base_prefix: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(base_prefix) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_none_or(|name| NOT_DATA.contains(&name)) {
            continue;
        }
        let own = directory.join(entry.file_name());
        if !own.exists() {
            symlink(entry.path(), own)?;
        } else if own.is_dir() {
            for below in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let own = own.join(below.file_name());
                if !own.exists() {
                    symlink(below.path(), own)?;
                }
            }
        }
    }
    Ok(())
}
