//! Recognising, from what a package's build has said, that it failed for want of a compiler.
//!
//! Every build system has its own words for it. Those here were taken from builds of setuptools, meson, cmake,
//! scikit-build, cargo, make and autoconf on a machine whose compiler was hidden. A compiler that ran and found
//! an error in the code, or misses some library's header, is not meant.

/// What says by itself that there is none.
const SIGNS: [&str; 12] = [
    "No CMAKE_C_COMPILER could be found",
    "No CMAKE_CXX_COMPILER could be found",
    "CMAKE_C_COMPILER not set, after EnableLanguage",
    "CMAKE_CXX_COMPILER not set, after EnableLanguage",
    "CMAKE_MAKE_PROGRAM is not set",
    "Could not find the compiler specified in the environment variable C",
    "ERROR: Unknown compiler(s): [[",
    "no acceptable C compiler found in $PATH",
    // A compiler without the C library's files, as in images that have `gcc` but not `libc6-dev`.
    "cannot find Scrt1.o",
    "cannot find crt1.o",
    "fatal error: stdio.h: No such file or directory",
    "fatal error: limits.h: No such file or directory",
];

/// What says it of a program, which stands between the two parts. Quotes are left out.
const ABSENCES: [(&str, &str); 14] = [
    ("No such file or directory: ", ""),
    ("command ", " failed: No such file or directory"),
    ("unable to execute ", ": No such file or directory"),
    ("make: ", ": No such file or directory"),
    ("env: ", ": No such file or directory"),
    ("", ": command not found"),
    ("", ": not found"),
    ("not found: ", ""),
    ("linker ", " not found"),
    ("failed to find tool ", ""),
    ("C compiler ", " not found"),
    ("exec: ", ": executable file not found in $PATH"),
    ("error trying to exec ", ": execvp: No such file or directory"),
    ("cannot execute ", ": execvp: No such file or directory"),
];

/// Programs of `build-essential`, without target, directory and version.
const TOOLS: [&str; 10] = ["cc", "gcc", "c++", "g++", "cpp", "clang", "clang++", "make", "cc1", "cc1plus"];

/// Whether a build failed because there is no compiler, or none for C++, or no `make`.
pub(super) fn is_missing_compiler(build_output: &str) -> bool {
    build_output.lines().any(|line| {
        let line: String = line.chars().filter(|character| !"'\"`‘’".contains(*character)).collect();
        SIGNS.iter().any(|sign| line.contains(sign))
            || ABSENCES.iter().any(|form| is_absent_tool(&line, *form))
    })
}

/// Whether a build failed because the interpreter's own C headers are not installed. Where the interpreter is
/// Debian's, they are in `python3.11-dev` for 3.11; a compiler is there then.
pub fn is_missing_python_header(build_output: &str) -> bool {
    build_output.contains("Python.h: No such file or directory")
        || build_output.contains("'Python.h' file not found")
}

/// Whether the line has this form with one of the tools in its place.
fn is_absent_tool(line: &str, (before, after): (&str, &str)) -> bool {
    if before.is_empty() {
        let Some((line, _)) = line.split_once(after) else { return false };
        return line.split_whitespace().next_back().is_some_and(is_tool);
    }
    let Some((_, line)) = line.split_once(before) else { return false };
    let word = if after.is_empty() { line } else { line.split_once(after).map_or("", |(word, _)| word) };
    // `failed to find tool gcc. Is it installed?`
    word.split([' ', ':', ',', ')']).next().is_some_and(|word| is_tool(word.trim_end_matches('.')))
}

/// `/usr/bin/x86_64-linux-gnu-gcc-12` is `gcc`.
fn is_tool(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    let name = name.trim_end_matches(|last: char| last.is_ascii_digit() || ".-".contains(last));
    // `cc1` ends in a digit of its own.
    [name, word].iter().any(|name| TOOLS.contains(&name.rsplit('-').next().unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_systems_that_found_no_compiler_are_understood() {
        for output in [
            // setuptools of 2024 and 2025
            "  building 'xxhash._xxhash' extension\n  gcc -Wsign-compare -DNDEBUG -g -fwrapv -c x.c -o x.o\n  error: [Errno 2] No such file or directory: 'gcc'",
            "error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'",
            // setuptools from 60, and before
            "error: command 'gcc' failed: No such file or directory",
            "error: command '/usr/bin/x86_64-linux-gnu-g++-12' failed: No such file or directory",
            "unable to execute 'x86_64-linux-gnu-gcc': No such file or directory\nerror: command 'x86_64-linux-gnu-gcc' failed with exit status 1",
            // subprocess
            "FileNotFoundError: [Errno 2] No such file or directory: 'make'",
            // shells, make, env
            "sh: 1: gcc: not found",
            "bash: gcc: command not found",
            "/tmp/build/run.sh: line 3: g++: command not found",
            "make: gcc: No such file or directory\nmake: *** [Makefile:2: a] Error 127",
            "env: 'cc': No such file or directory",
            // cmake, with ninja, with make, and under scikit-build-core
            "CMake Error at CMakeLists.txt:2 (project):\n  No CMAKE_CXX_COMPILER could be found.\n",
            "CMake Error: CMake was unable to find a build program corresponding to \"Unix Makefiles\".  CMAKE_MAKE_PROGRAM is not set.  You probably need to select a different build tool.",
            "  Could not find the compiler specified in the environment variable CC:\n\n  gcc.",
            // meson
            "me/meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang'], ['nvc'], ['pgcc'], ['icc'], ['icx']]",
            // cargo, the cc crate, cgo
            "error: linker `cc` not found\n  |\n  = note: No such file or directory (os error 2)",
            "error occurred in cc-rs: failed to find tool \"cc\": No such file or directory (os error 2)",
            "Internal error occurred: Failed to find tool. Is `gcc` installed?\nfailed to find tool \"gcc\". Is it installed?",
            "cgo: C compiler \"gcc\" not found: exec: \"gcc\": executable file not found in $PATH",
            // node-gyp
            "gyp ERR! stack Error: not found: make",
            // autoconf
            "configure: error: no acceptable C compiler found in $PATH",
            // gcc without g++, without the C library's files
            "gcc: fatal error: cannot execute 'cc1plus': execvp: No such file or directory",
            "gcc: error trying to exec 'cc1plus': execvp: No such file or directory",
            "/usr/bin/ld: cannot find Scrt1.o: No such file or directory",
            "x.c:1:10: fatal error: stdio.h: No such file or directory",
        ] {
            assert!(is_missing_compiler(output), "{output}");
        }
    }

    #[test]
    fn other_failures_are_not_taken_for_it() {
        for output in [
            "",
            "error: command '/usr/bin/gcc' failed with exit code 1",
            "x.c:3:10: fatal error: ffi.h: No such file or directory\n    3 | #include <ffi.h>\ncompilation terminated.\nerror: command '/usr/bin/gcc' failed with exit code 1",
            "gcc: error: deps/x.c: No such file or directory",
            "make: *** No rule to make target 'install'.  Stop.",
            "make: *** [Makefile:2: all] Error 1",
            "error: [Errno 2] No such file or directory: 'requirements.txt'",
            "FileNotFoundError: [Errno 2] No such file or directory: 'pg_config'",
            "/bin/sh: 1: pkg-config: not found",
            "ld: cannot find -lssl: No such file or directory",
            "ModuleNotFoundError: No module named 'Cython'",
            "error: can't find Rust compiler",
            "fatal error: Python.h: No such file or directory",
            "No solution found when resolving dependencies: gcc was not found in the package registry",
        ] {
            assert!(!is_missing_compiler(output), "{output}");
        }
    }

    #[test]
    fn missing_headers_of_python_are_another_matter() {
        assert!(is_missing_python_header(
            "src/_cffi_backend.c:2:10: fatal error: Python.h: No such file or directory\n    2 | #include <Python.h>"
        ));
        assert!(is_missing_python_header("x.c:1:10: fatal error: 'Python.h' file not found"));
        assert!(!is_missing_python_header(
            "#include <Python.h>\nx.c:2: fatal error: ffi.h: No such file or directory"
        ));
    }
}
