//! Python packages that requests ask for: there when their function runs, each request's its own.

use std::fs;
use std::path::Path;

use e2e::{Farcall, Package, Request, WatchedUv, WheelHouse, function};
use serde_json::{Value, json};

/// The version of a package as its module says it.
fn version_of(package: &str) -> Request {
    let code = format!("def version():\n    import {package}\n    return {package}.VERSION\n");
    function("version", &code)
}

/// A farcall that installs from `house` only, with uv as `.venv` has it.
fn installing_from(house: &WheelHouse) -> Farcall {
    Farcall::new().with_all(house.variables())
}

fn house(packages: impl IntoIterator<Item = Package>) -> WheelHouse {
    let house = WheelHouse::new();
    house.add(packages);
    house
}

#[test]
fn a_package_is_there_and_its_installation_is_told_once() {
    let house = house([Package::new("alpha", "1.0").requires(&["beta>=2"]), Package::new("beta", "2.5")]);
    let farcall = installing_from(&house);
    let request = version_of("alpha").dependencies(&["alpha"]);
    let answers = farcall.answers([&request, &request]);
    assert_eq!(answers[0].value(), "1.0");
    let told: Vec<&str> = answers[0].output().lines().collect();
    assert_eq!(told[0], "[farcall] installing alpha==1.0, beta==2.5");
    assert!(told[1].starts_with("[farcall] installed 2 packages in "), "{told:?}");
    assert_eq!((answers[1].value(), answers[1].output()), (json!("1.0"), ""));
    // Another worker of the machine finds it.
    let again = farcall.answer(&request);
    assert_eq!((again.value(), again.output()), (json!("1.0"), ""));
}

#[test]
fn what_the_interpreter_has_is_not_installed() {
    let house = house([]);
    let answer = installing_from(&house).answer(
        &function("f", "import cloudpickle\ndef f(): return cloudpickle.__version__")
            .dependencies(&["cloudpickle"]),
    );
    assert_eq!((answer.value(), answer.output()), (json!("3.1.2"), ""));
}

#[test]
fn conflicting_versions_live_side_by_side() {
    let house = house([Package::new("alpha", "1.0"), Package::new("alpha", "2.0")]);
    let farcall = installing_from(&house);
    let [one, two] =
        ["alpha==1.0", "alpha>=2"].map(|requirement| version_of("alpha").dependencies(&[requirement]));
    let answers = farcall.answers([&one, &two, &one, &two]);
    assert_eq!(answers.iter().map(|answer| answer.value()).collect::<Vec<_>>(), ["1.0", "2.0", "1.0", "2.0"]);
    let without = farcall.answer(&version_of("alpha"));
    assert!(without.error().contains("No module named 'alpha'"), "{without:?}");
}

#[test]
fn a_package_of_the_interpreter_in_another_version_takes_its_place_for_that_request_only() {
    let house = house([Package::new("cloudpickle", "3.0.0").file("gamma.py", "")]);
    let code = "def f():\n    import cloudpickle\n    return getattr(cloudpickle, 'VERSION', cloudpickle.__name__)\n";
    let other = function("f", code).dependencies(&["cloudpickle<3.1"]);
    let own = function("f", code);
    let answers = installing_from(&house).answers([&own, &other, &own]);
    assert_eq!(
        answers.iter().map(|answer| answer.value()).collect::<Vec<_>>(),
        ["cloudpickle", "3.0.0", "cloudpickle"]
    );
    assert!(
        answers[1].output().contains("[farcall] taking the place of the image's cloudpickle==3.1.2\n"),
        "{answers:?}"
    );
}

#[test]
fn the_interpreters_packages_are_constraints_until_they_cannot_be() {
    // Without the constraint, delta would be 2 because of cloudpickle 4.
    let house = house([
        Package::new("delta", "1.0").requires(&["cloudpickle<4"]),
        Package::new("delta", "2.0").requires(&["cloudpickle>=4"]),
        Package::new("cloudpickle", "4.0"),
    ]);
    let farcall = installing_from(&house);
    let answer = farcall.answer(&version_of("delta").dependencies(&["delta"]));
    assert_eq!(answer.value(), "1.0", "{answer:?}");
    assert!(!answer.output().contains("cloudpickle"), "{answer:?}");
    let answer = farcall.answer(&version_of("delta").dependencies(&["delta>=2"]));
    assert_eq!(answer.value(), "2.0", "{answer:?}");
    assert!(answer.output().contains("taking the place of the image's cloudpickle==3.1.2"), "{answer:?}");
}

#[test]
fn extras_and_markers_are_followed() {
    let house = house([
        Package::new("alpha", "1.0")
            .extra("more", &["beta"])
            .requires(&["gamma ; python_version < '3'", "delta ; python_version >= '3'"]),
        Package::new("beta", "1.0"),
        Package::new("delta", "1.0"),
    ]);
    let code = "def f():\n    import importlib.util\n    return [name for name in ('alpha', 'beta', 'gamma', 'delta') if importlib.util.find_spec(name)]\n";
    let farcall = installing_from(&house);
    let plain = function("f", code).dependencies(&["alpha"]);
    let more = function("f", code).dependencies(&["Alpha [more]", "beta ; python_version < '3'"]);
    let answers = farcall.answers([&plain, &more]);
    assert_eq!(answers[0].value(), json!(["alpha", "delta"]));
    assert_eq!(answers[1].value(), json!(["alpha", "beta", "delta"]));
}

#[test]
fn everything_that_looks_for_packages_finds_them() {
    let alpha = Package::new("alpha", "1.0")
        .file("alpha_tool.py", "def main():\n    import alpha, sys\n    print('tool of', alpha.VERSION)\n")
        .file("alpha_data/table.txt", "forty-two")
        .file("alpha_hook.pth", "import sys; sys.alpha_hook_ran = True\n")
        .file("alpha-1.0.data/data/share/alpha/sheet.txt", "shared")
        .script("alpha-tool", "alpha_tool:main");
    let house = house([alpha]);
    let code = r#"
import multiprocessing, os, subprocess, sys

def child(queue):
    import alpha
    queue.put(alpha.VERSION)

def f():
    import importlib.metadata, importlib.resources
    run = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    spawned = queue.get(timeout=20)
    process.join()
    return {
        "script": run("alpha-tool"),
        "python": run(sys.executable, "-c", "import alpha, cloudpickle; print(alpha.VERSION, cloudpickle.__version__)"),
        "python on PATH": run("python", "-c", "import alpha; print(alpha.VERSION)"),
        "module": run(sys.executable, "-m", "alpha_tool") or "ran",
        "spawn": spawned,
        "metadata": importlib.metadata.version("alpha"),
        "resource": importlib.resources.files("alpha_data").joinpath("table.txt").read_text(),
        "pth": getattr(sys, "alpha_hook_ran", False),
        "data": open(os.path.join(sys.prefix, "share/alpha/sheet.txt")).read(),
        "base": importlib.metadata.version("cloudpickle"),
    }
"#;
    let answer = installing_from(&house).answer(&function("f", code).dependencies(&["alpha"]));
    let expected = json!({
        "script": "tool of 1.0", "python": "1.0 3.1.2", "python on PATH": "1.0", "module": "ran", "spawn": "1.0",
        "metadata": "1.0", "resource": "forty-two", "pth": true, "data": "shared", "base": "3.1.2",
    });
    assert_eq!(answer.value(), expected);
}

#[test]
fn classes_keep_their_instances_in_their_environment() {
    let house = house([Package::new("alpha", "1.0"), Package::new("alpha", "2.0")]);
    let code = "class Counter:\n    def __init__(self):\n        import alpha\n        self.calls, self.alpha = 0, alpha.VERSION\n    def call(self):\n        self.calls += 1\n        return [self.alpha, self.calls]\n";
    let request = |id: &str, requirement: &str| {
        e2e::class("Counter", code, "call").with("instance_id", id).dependencies(&[requirement])
    };
    let (one, two) = (request("one", "alpha==1.0"), request("two", "alpha==2.0"));
    let answers = installing_from(&house).answers([&one, &two, &one, &two]);
    let expected = [json!(["1.0", 1]), json!(["2.0", 1]), json!(["1.0", 2]), json!(["2.0", 2])];
    assert_eq!(answers.iter().map(|answer| answer.value()).collect::<Vec<Value>>(), expected);
}

#[test]
fn a_package_that_does_not_exist_is_an_error_with_a_hint_and_the_next_request_runs() {
    let house = house([Package::new("alpha", "1.0")]);
    let missing = version_of("alpha").dependencies(&["alpha", "no-such-package"]);
    let answers = installing_from(&house).answers([&missing, &version_of("alpha").dependencies(&["alpha"])]);
    let error = answers[0].error();
    assert!(error.starts_with("cannot install `no-such-package`:\n"), "{error}");
    assert!(error.contains("\nhint: check the spelling"), "{error}");
    assert_eq!(answers[1].value(), "1.0");
}

#[test]
fn what_is_no_requirement_is_refused_by_name_and_nothing_runs() {
    let house = house([Package::new("alpha", "1.0")]);
    let farcall = installing_from(&house);
    let ran = farcall.directory().join("ran");
    for entry in [
        "--index-url=https://example.invalid/simple",
        "-r requirements.txt",
        "alpha; touch ran",
        "alpha && touch ran",
        "$(touch ran)",
        "alpha\n--pre",
        "ext::sh -c touch% ran",
        "git+ext::sh",
        "svn+ssh://example.invalid/x",
        "",
        "alpha beta",
    ] {
        let answer = farcall.answer(&version_of("alpha").dependencies(&[entry]));
        let error = answer.error();
        assert!(error.contains("hint: ") && error.contains("dependenc"), "{entry}: {error}");
    }
    assert!(!ran.exists());
}

#[test]
fn credentials_of_an_index_appear_nowhere() {
    let house = house([]);
    let farcall = installing_from(&house)
        .with("PIP_NO_INDEX", "")
        .with("PIP_INDEX_URL", "http://me:hunter2@127.0.0.1:1/simple")
        .with("UV_HTTP_TIMEOUT", "1")
        .with("UV_HTTP_RETRIES", "0")
        .with("FARCALL_LOG_LEVEL", "trace");
    let request = version_of("alpha")
        .dependencies(&["alpha", "beta @ http://you:swordfish@127.0.0.1:1/beta-1.0-py3-none-any.whl"]);
    farcall.write("request.json", &request);
    let finished = farcall.run(["test-handler", "--json", "request.json"]);
    assert!(finished.answers()[0].error().contains("cannot install"), "{finished:?}");
    for secret in ["hunter2", "swordfish"] {
        assert!(!finished.stdout.contains(secret) && !finished.stderr.contains(secret), "{finished:?}");
    }
    assert!(!holds(farcall.directory().join("cache").as_path(), "swordfish"));
}

/// Whether any file below a directory contains a text.
fn holds(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            return holds(&path, text);
        }
        fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}

#[test]
fn a_wheel_by_its_path_and_by_its_url_is_installed() {
    let house = house([Package::new("alpha", "1.0"), Package::new("beta", "1.0")]);
    let (path, url) =
        (house.wheel("alpha", "1.0"), format!("beta @ file://{}", house.wheel("beta", "1.0").display()));
    let request = version_of("alpha").dependencies(&[path.to_str().unwrap(), &url]);
    let answer = installing_from(&house).answer(&request);
    assert_eq!(answer.value(), "1.0");
}

#[test]
fn a_build_that_fails_says_what_it_said() {
    let house = WheelHouse::new();
    house.add_source(
        &Package::new("alpha", "1.0"),
        "def before_building():\n    raise SystemExit('the flux capacitor is missing')\n",
    );
    let answer = installing_from(&house).answer(&version_of("alpha").dependencies(&["alpha"]));
    let error = answer.error();
    assert!(error.contains("the flux capacitor is missing") && error.contains("hint: "), "{error}");
}

#[test]
fn one_connection_and_pips_way_to_choose_where_acceleration_is_off() {
    let house = house([Package::new("alpha", "1.0")]);
    let settings = house.path().join("settings");
    let tell = format!("echo \"$UV_CONCURRENT_DOWNLOADS $UV_INDEX_STRATEGY\" > {}", settings.display());
    let uv = WatchedUv::new(&tell);
    let request = version_of("alpha").dependencies(&["alpha"]);
    for (accelerate, expected) in [(true, ""), (false, "1 unsafe-best-match")] {
        let request = request.clone().with("accelerate_downloads", accelerate);
        let farcall = installing_from(&house).with("PATH", &uv.path());
        assert_eq!(farcall.answer(&request).value(), "1.0");
        assert_eq!(fs::read_to_string(&settings).unwrap().trim(), expected);
    }
}

#[test]
fn an_old_uv_is_refused_with_a_sentence() {
    let house = house([Package::new("alpha", "1.0")]);
    let uv = WatchedUv::new("echo 'uv 0.3.5'; exit 0");
    let farcall = installing_from(&house).with("PATH", &uv.path());
    let answer = farcall.answer(&version_of("alpha").dependencies(&["alpha"]));
    let error = answer.error();
    assert!(error.contains("`uv 0.3.5` at `") && error.contains("hint: install a later uv"), "{error}");
    assert_eq!(uv.installations(), 0);
}

#[test]
fn an_import_that_fails_says_which_dependency_would_provide_it() {
    let house = house([Package::new("alpha", "1.0")]);
    let import = |module: &str| function("f", &format!("def f():\n    import {module}\n"));
    let hint_of = |request: &Request| {
        let answer = installing_from(&house).answer(request);
        answer.error().lines().find(|line| line.starts_with("hint: ")).map(str::to_owned)
    };
    let expected = "hint: `cv2` is not installed; dependencies=[\"opencv-python-headless\"] installs it";
    assert_eq!(hint_of(&import("cv2.dnn")).as_deref(), Some(expected));
    let expected = "hint: `some_module` is not installed; dependencies=[\"some-module\"] installs it";
    assert_eq!(hint_of(&import("some_module").pickled()).as_deref(), Some(expected));
    // No package would help: Python's own, part of what is there, what was asked for.
    assert_eq!(hint_of(&import("os.nonesuch")), None);
    assert_eq!(hint_of(&import("cloudpickle.nonesuch")), None);
    assert_eq!(hint_of(&import("alpha.nonesuch").dependencies(&["alpha"])), None);
}

#[test]
fn environments_are_listed_shown_and_pruned() {
    let house = house([Package::new("alpha", "1.0")]);
    let farcall = installing_from(&house);
    assert_eq!(
        farcall.run(["env", "list"]).stdout,
        "no environments: nothing has been installed for a request yet\n"
    );
    farcall.answer(&version_of("alpha").dependencies(&["Alpha>=1"])).value();
    let listed = farcall.run(["env", "list"]).stdout;
    assert!(listed.contains("alpha>=1") && listed.lines().count() == 1, "{listed}");
    let key = listed.split(' ').next().unwrap();
    let shown = farcall.run(["env", "show", &key[..6]]).stdout;
    assert!(shown.contains("installed    alpha==1.0\n"), "{shown}");
    let json: Value = serde_json::from_str(&farcall.run(["env", "list", "--json"]).stdout).unwrap();
    assert_eq!((&json["record"]["installed"], &json["in_use"]), (&json!(["alpha==1.0"]), &json!(false)));
    let pruned = farcall.run(["env", "prune"]).stdout;
    assert!(pruned.starts_with("removed 1 environment ("), "{pruned}");
    let missing = farcall.run(["env", "show", key]);
    assert_eq!(missing.code, 64, "{missing:?}");
    assert!(missing.stderr.contains("hint: `farcall env list` lists them"), "{missing:?}");
}
