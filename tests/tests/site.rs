//! Where the interpreter's own packages are, and what is remembered of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Farcall, Python, function};
use farcall::config::Config;
use farcall::interpreter::{Interpreter, Site};
use serde_json::Value;

/// What farcall runs to find out.
const QUESTION: &str = include_str!("../../worker/src/interpreter/site/question.py");

const RUNNER: &str = "import sys\ndef f(): return [path for path in sys.path if path.endswith('-packages')]";

#[test]
fn packages_are_where_a_runner_finds_them() {
    let farcall = Farcall::new();
    let version = Python::under_test().run("import sys; print('%d.%d' % sys.version_info[:2])");
    let user = format!("home/.local/lib/python{}/site-packages", version.trim());
    farcall.write(&format!("{user}/more.pth"), "# a comment\n\n../more-packages\n");
    farcall.write(&format!("{user}/../more-packages/x.py"), "");
    farcall.write("first-packages/x.py", "");
    let directory = |name: &str| farcall.directory().join(name).display().to_string();
    let path =
        format!("{}:{}:{}", directory("first-packages"), directory("a.zip"), directory("none-packages"));
    let base = Python::under_test().run("import os, sys; print(os.path.realpath(sys.executable))");
    // Outside of a virtual environment, where the user's site counts.
    for variables in [
        vec![("HOME", directory("home"))],
        vec![("HOME", directory("home")), ("PYTHONPATH", path.clone())],
        vec![("HOME", directory("home")), ("PYTHONPATH", path.clone()), ("PYTHONNOUSERSITE", "1".to_owned())],
    ] {
        let farcall = Farcall::with_python(base.trim());
        let farcall = variables.iter().fold(farcall, |farcall, (name, value)| farcall.with(name, value));
        let runner = farcall.answer(&function("f", RUNNER)).value();
        let mut command = Command::new(base.trim());
        command.args(["-c", QUESTION]).env_clear().envs(variables.clone());
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let answer = output.lines().find_map(|line| line.strip_prefix("farcall-site:")).unwrap();
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer["site"]["directories"], runner, "{variables:?}");
        assert!(runner.as_array().unwrap().len() >= variables.len(), "{runner}");
    }
}

#[tokio::test]
async fn the_site_is_remembered_until_what_it_came_from_changes() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("environment");
    let create = Command::new(Python::under_test().path())
        .args(["-m", "venv", "--without-pip"])
        .arg(&environment)
        .status();
    assert!(create.unwrap().success());
    let cache = directory.path().join("cache");
    let interpreter = find(&environment, &cache).await;
    let site = interpreter.site().await.unwrap();
    assert_eq!(site.prefix, environment);
    assert_eq!(site.directories, [environment.join(&site.purelib)]);

    // What has just changed is not remembered.
    assert!(!cache.join("sites.json").exists());
    wait_until_remembered(&interpreter, &cache).await;
    // A false memory tells whether it is used.
    let memory = fs::read_to_string(cache.join("sites.json")).unwrap();
    let purelib = format!("\"purelib\":\"{}\"", site.purelib.display());
    assert!(memory.contains(&purelib), "{memory}");
    fs::write(cache.join("sites.json"), memory.replace(&purelib, "\"purelib\":\"remembered\"")).unwrap();
    assert_eq!(interpreter.site().await.unwrap().purelib, Path::new("remembered"));

    let more = directory.path().join("more-packages");
    fs::create_dir(&more).unwrap();
    fs::write(site.directories[0].join("more.pth"), more.display().to_string()).unwrap();
    let Site { purelib, directories, .. } = interpreter.site().await.unwrap();
    assert_eq!((purelib, directories), (site.purelib, vec![site.directories[0].clone(), more]));
}

#[tokio::test]
async fn a_site_that_code_decides_is_never_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let environment = directory.path().join("environment");
    fs::create_dir_all(environment.join("bin")).unwrap();
    let base = Python::under_test().run("import os, sys; print(os.path.realpath(sys.executable))");
    let base = Path::new(base.trim());
    symlink(base, environment.join("bin/python")).unwrap();
    let home = base.parent().unwrap().display();
    let home = format!("home = {home}\ninclude-system-site-packages = false\n");
    fs::write(environment.join("pyvenv.cfg"), home).unwrap();
    let cache = directory.path().join("cache");
    let interpreter = find(&environment, &cache).await;
    let packages = environment.join(interpreter.site().await.unwrap().purelib);
    fs::create_dir_all(&packages).unwrap();
    fs::remove_file(cache.join("sites.json")).ok(); // nothing may have changed lately until here
    fs::write(packages.join("mine.pth"), "import sys; sys.path.append('/from-packages')\n").unwrap();
    assert!(interpreter.site().await.unwrap().directories.contains(&"/from-packages".into()));
    fs::remove_file(packages.join("mine.pth")).unwrap();
    fs::write(packages.join("sitecustomize.py"), "print('hello')\n").unwrap();
    assert_eq!(interpreter.site().await.unwrap().directories, std::slice::from_ref(&packages));

    // By then, what had just changed would be.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        interpreter.site().await.unwrap();
    }
    assert!(!cache.join("sites.json").exists());
    fs::remove_file(packages.join("sitecustomize.py")).unwrap();
    wait_until_remembered(&interpreter, &cache).await;
}

async fn find(environment: &Path, cache: &Path) -> Interpreter {
    let text = |path: &Path| Some(path.display().to_string());
    let config = Config::read(|name| match name {
        "FARCALL_PYTHON" => text(&environment.join("bin/python")),
        "FARCALL_CACHE_DIR" => text(cache),
        _ => None,
    });
    Interpreter::find(&config.expect("these are paths")).await.expect("it is an interpreter")
}

async fn wait_until_remembered(interpreter: &Interpreter, cache: &Path) {
    let started = Instant::now();
    while !cache.join("sites.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is remembered");
        interpreter.site().await.expect("it answers");
    }
}
