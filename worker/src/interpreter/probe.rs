//! Asking an interpreter what it is: one short run of it, without its site packages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Interpreter, InterpreterError, OLDEST_MINOR};
use crate::subprocess::Subprocess;

/// Prints a line for each fact. Runs on every Python 3, so that an old one can be refused by its version.
const QUESTIONS: &str = "\
import sys, sysconfig
def say(name, value): print(name, value if value is not None else '', sep='=')
say('implementation', sys.implementation.name)
say('version', '%d.%d.%d' % sys.version_info[:3])
say('executable', sys.executable)
say('free_threaded', int(bool(sysconfig.get_config_var('Py_GIL_DISABLED'))))
say('library', sysconfig.get_config_var('INSTSONAME') or sysconfig.get_config_var('LDLIBRARY'))
say('library_directory', sysconfig.get_config_var('LIBDIR'))
say('base_prefix', sys.base_prefix)";

/// A cold interpreter on a busy disk takes seconds; more means that it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn probe(path: &Path) -> Result<Interpreter, InterpreterError> {
    let command = Subprocess::new(path).arguments(["-S", "-E", "-c", QUESTIONS]).deadline(DEADLINE);
    let command = command.shown_as(path.display().to_string());
    let output =
        command.run().await.map_err(|source| InterpreterError::Probe { path: path.to_owned(), source })?;
    judge(path, &output.stdout)
}

/// Turns the answers into an interpreter, or into the reason why it cannot be used.
fn judge(path: &Path, stdout: &str) -> Result<Interpreter, InterpreterError> {
    let answers: HashMap<&str, &str> = stdout.lines().filter_map(|line| line.split_once('=')).collect();
    let answer = |name: &str| answers.get(name).copied().filter(|value| !value.is_empty());
    let not_python = || InterpreterError::NotPython { path: path.to_owned(), answer: stdout.to_owned() };

    let implementation = answer("implementation").ok_or_else(not_python)?;
    let version = answer("version").ok_or_else(not_python)?.to_owned();
    if implementation != "cpython" {
        let implementation = implementation.to_owned();
        return Err(InterpreterError::NotCPython { path: path.to_owned(), implementation });
    }
    let mut numbers = version.split('.').map(|number| number.parse::<u8>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(3), Some(OLDEST_MINOR)) {
        return Err(InterpreterError::TooOld { path: path.to_owned(), version });
    }
    if answer("free_threaded") == Some("1") {
        return Err(InterpreterError::FreeThreaded { path: path.to_owned(), version });
    }
    let executable = answer("executable").map_or_else(|| path.to_owned(), PathBuf::from);
    Ok(Interpreter { executable, version, libpython: libpython(&answers), cache_directory: None })
}

/// The shared library, where the build says it is or where relocated builds (conda, standalone) keep it.
fn libpython(answers: &HashMap<&str, &str>) -> Option<PathBuf> {
    let name = *answers.get("library").filter(|name| name.contains(".so"))?;
    let installed = answers.get("library_directory").map(PathBuf::from);
    let relocated = answers.get("base_prefix").map(|prefix| Path::new(prefix).join("lib"));
    [installed, relocated]
        .into_iter()
        .flatten()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(answers: &str) -> String {
        judge(Path::new("/opt/python"), answers).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_sentence() {
        insta::assert_snapshot!(refusal("implementation=cpython\nversion=3.9.18\n"), @r"
        `/opt/python` is Python 3.9.18; farcall needs CPython 3.10 or later
        hint: set FARCALL_PYTHON to a newer interpreter
        ");
        insta::assert_snapshot!(refusal("implementation=pypy\nversion=3.10.14\n"), @r"
        `/opt/python` is pypy; farcall embeds CPython
        hint: set FARCALL_PYTHON to a CPython interpreter
        ");
        insta::assert_snapshot!(refusal("implementation=cpython\nversion=3.13.1\nfree_threaded=1\n"), @r"
        `/opt/python` is a free-threaded build of Python 3.13.1, which farcall does not support
        hint: set FARCALL_PYTHON to the default build of Python 3.13.1
        ");
        insta::assert_snapshot!(refusal("hello\n"), @r#"`/opt/python` does not answer like a Python interpreter: "hello\n""#);
    }

    #[test]
    fn an_interpreter_without_a_shared_library_is_run_as_it_is() {
        let static_build =
            "implementation=cpython\nversion=3.11.2\nlibrary=libpython3.11.a\nlibrary_directory=/usr/lib\n";
        assert_eq!(judge(Path::new("/p"), static_build).unwrap().libpython, None);
        let missing = "implementation=cpython\nversion=3.11.2\nlibrary=libpython3.11.so.1.0\nlibrary_directory=/nowhere\n";
        assert_eq!(judge(Path::new("/p"), missing).unwrap().libpython, None);
    }

    #[test]
    fn the_shared_library_is_found_where_the_build_says_or_beside_the_prefix() {
        let prefix = tempfile::tempdir().unwrap();
        let library = prefix.path().join("lib/libpython3.12.so.1.0");
        std::fs::create_dir(prefix.path().join("lib")).unwrap();
        std::fs::write(&library, "").unwrap();
        let answers = format!(
            "implementation=cpython\nversion=3.12.1\nlibrary=libpython3.12.so.1.0\nlibrary_directory=/nowhere\nbase_prefix={}\n",
            prefix.path().display()
        );
        assert_eq!(judge(Path::new("/p"), &answers).unwrap().libpython, Some(library));
    }
}
