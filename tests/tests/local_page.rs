//! The local endpoint's page, used in a real browser: `tests/page/use.py` says how.

use e2e::{LocalEndpoint, LocalOptions, Python, repository};

/// Uses the page as a person would. Without a browser it says so, and nothing is tested.
#[track_caller]
#[expect(clippy::print_stderr, reason = "whoever runs the tests shall know what was left out")]
fn use_page(options: LocalOptions, key: Option<&str>) {
    let endpoint = options.start();
    let url = format!("http://{}/", endpoint.address());
    let pictures = std::env::var_os("FARCALL_TEST_PICTURES").map(std::path::PathBuf::from);
    let output = std::process::Command::new(Python::under_test().path())
        .arg(repository().join("tests/page/use.py"))
        .arg(url)
        .arg(pictures.as_deref().unwrap_or(endpoint.directory()))
        .args(key)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter can be started");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    match stdout.lines().last() {
        Some("OK") => {}
        Some(reason) if reason.starts_with("skipped: ") => eprintln!("{reason}"),
        other => panic!("{other:?}: {stdout}\n{stderr}"),
    }
}

#[test]
fn a_function_is_run_watched_and_cancelled_on_the_page() {
    use_page(LocalEndpoint::options(), None);
}

#[test]
fn the_page_asks_for_the_key_and_works_with_it() {
    use_page(LocalEndpoint::options().with("FARCALL_API_KEY", "of-the-page"), Some("of-the-page"));
}
