//! Environments under pressure: many requests, several workers, builds that hang or are killed, full disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use e2e::{
    Farcall, Package, Python, Request, WatchedUv, WheelHouse, Worker, binary, function, processes, value,
    wait_until,
};
use serde_json::json;

fn version_of(package: &str) -> Request {
    let code = format!("def version():\n    import {package}\n    return {package}.VERSION\n");
    function("version", &code)
}

/// Wheels `alpha` 1.0 to 5.0.
fn five_versions() -> WheelHouse {
    let house = WheelHouse::new();
    house.add((1..=5).map(|major| Package::new("alpha", &format!("{major}.0"))));
    house
}

fn environments_in(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("environments")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("farcall.json").is_file()).collect()
}

#[test]
fn fifty_requests_at_once_for_five_environments_build_five() {
    let (house, uv) = (five_versions(), WatchedUv::new(""));
    let worker = Worker::options()
        .with_all(house.variables())
        .with("PATH", &uv.path())
        .with("FARCALL_CONCURRENCY", "4")
        .start();
    let request =
        |number: usize| version_of("alpha").dependencies(&[&format!("alpha=={}.0", number % 5 + 1)]);
    let answers = worker.at_once((0..50).map(request));
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(value(answer), json!(format!("{}.0", number % 5 + 1)));
    }
    assert_eq!((uv.plans(), uv.installations()), (5, 5));
    let told = answers
        .iter()
        .filter(|answer| answer.stdout.as_ref().is_some_and(|text| text.contains("installed 1 package")));
    assert!(told.count() >= 5, "whoever waited is told");
}

#[test]
fn asynchronous_calls_with_different_packages_share_a_runner_with_their_like() {
    let house = five_versions();
    let worker = Worker::options().with_all(house.variables()).with("FARCALL_CONCURRENCY", "4").start();
    let code = "import os\nasync def f():\n    import alpha, asyncio\n    await asyncio.sleep(0.05)\n    return [alpha.VERSION, os.getpid()]\n";
    let request =
        |number: usize| function("f", code).dependencies(&[&format!("alpha=={}.0", number % 2 + 1)]);
    let answers: Vec<_> = worker.at_once((0..12).map(request)).iter().map(value).collect();
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer[0], format!("{}.0", number % 2 + 1));
        assert_eq!(answer[1], answers[number % 2][1], "one process for each environment");
    }
    assert_ne!(answers[0][1], answers[1][1]);
}

#[test]
fn two_workers_of_a_machine_build_once() {
    let (house, uv) = (five_versions(), WatchedUv::new("sleep 0.2"));
    let cache = tempfile::tempdir().unwrap();
    let options = || {
        Worker::options()
            .with_all(house.variables())
            .with("PATH", &uv.path())
            .with("FARCALL_CACHE_DIR", cache.path().to_str().unwrap())
    };
    let workers = [options().start(), options().start()];
    let request = || version_of("alpha").dependencies(&["alpha==3.0"]);
    let calls = workers.each_ref().map(|worker| worker.begin(request()));
    let answers = calls.map(e2e::PendingCall::answer);
    assert_eq!(answers.each_ref().map(value), [json!("3.0"), json!("3.0")]);
    assert_eq!((uv.plans(), uv.installations()), (1, 1));
    let output = answers.map(|answer| answer.stdout.unwrap_or_default()).concat();
    assert!(output.contains("the dependencies were installed by another worker meanwhile"), "{output}");
}

#[test]
fn a_build_that_hangs_ends_in_time_with_all_it_has_started() {
    let house = WheelHouse::new();
    let marker = house.path().join("pid");
    let backend = format!(
        "def before_building():\n    import os, time\n    print('compiling for ever', flush=True)\n    open('{}', 'w').write(str(os.getpid()))\n    time.sleep(60)\n",
        marker.display()
    );
    house.add_source(&Package::new("alpha", "1.0"), &backend);
    let worker = Worker::options().with_all(house.variables()).with("FARCALL_INSTALL_TIMEOUT_S", "2").start();
    let error = worker.error(&version_of("alpha").dependencies(&["alpha"]));
    assert!(error.contains("did not end in time\nhint: FARCALL_INSTALL_TIMEOUT_S"), "{error}");
    let pid = fs::read_to_string(marker).unwrap().parse().unwrap();
    assert!(wait_until(|| !processes::is_alive(pid)), "its build lives on");
    assert_eq!(worker.value(&function("f", "def f(): return 1")), 1);
    assert!(environments_in(&worker.directory().join("cache")).is_empty());
}

/// A house with a package that takes for ever to build; it says who builds it.
fn slow_house() -> (WheelHouse, PathBuf) {
    let house = WheelHouse::new();
    let marker = house.path().join("pid");
    let backend = format!(
        "def before_building():\n    import os, time\n    open('{}', 'w').write(str(os.getpid()))\n    time.sleep(60)\n",
        marker.display()
    );
    house.add_source(&Package::new("alpha", "1.0"), &backend);
    (house, marker)
}

fn builder(marker: &Path) -> u32 {
    let pid = || fs::read_to_string(marker).ok()?.parse().ok();
    assert!(wait_until(|| pid().is_some()), "nobody builds");
    pid().expect("it was there just now")
}

#[test]
fn a_client_that_goes_away_ends_the_build_unless_another_waits_for_it() {
    let (house, marker) = slow_house();
    let worker = Worker::options().with_all(house.variables()).with("FARCALL_CONCURRENCY", "2").start();
    let request = version_of("alpha").dependencies(&["alpha"]);
    let mut one = worker.follow(&request);
    one.printed_until("installing alpha==1.0\n");
    let mut two = worker.follow(&request);
    two.printed_until("installing alpha==1.0\n");
    let pid = builder(&marker);
    one.disconnect();
    assert_eq!(worker.value(&function("f", "def f(): return 1")), 1);
    assert!(processes::is_alive(pid), "the other one wants it");
    two.disconnect();
    assert!(wait_until(|| !processes::is_alive(pid)), "nobody wants it");
}

#[test]
fn shutting_down_ends_a_build_and_answers_its_request() {
    let (house, marker) = slow_house();
    let mut worker = Worker::options().with_all(house.variables()).with("FARCALL_GRACE_S", "0").start();
    let call = worker.begin(version_of("alpha").dependencies(&["alpha"]));
    let pid = builder(&marker);
    worker.signal("TERM");
    assert!(!call.answer().success);
    assert!(worker.await_exit().success());
    assert!(!processes::is_alive(pid));
}

/// `farcall test-handler` over one request, with the given cache.
fn start(house: &WheelHouse, uv: &WatchedUv, cache: &Path, request: &Path) -> Child {
    let mut command = Command::new(binary());
    command.arg("test-handler").arg("--json").arg(request).env_clear().envs(house.variables());
    command
        .env("PATH", uv.path())
        .env("FARCALL_PYTHON", Python::under_test().path())
        .env("FARCALL_CACHE_DIR", cache);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the test machine allows it")
}

#[test]
fn a_worker_killed_at_any_moment_of_a_build_never_leaves_a_broken_environment() {
    const MODULES: usize = 40;
    let names: Vec<String> = (0..3).map(|number| format!("pack{number}")).collect();
    let house = WheelHouse::new();
    house.add(names.iter().map(|name| {
        (0..MODULES).fold(Package::new(name, "1.0"), |package, module| {
            package.file(&format!("{name}_all/m{module}.py"), &format!("HERE = {module}\n"))
        })
    }));
    let uv = WatchedUv::new("");
    let (cache, requests) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = requests.path().join("request.json");
    let dependencies: Vec<&str> = names.iter().map(String::as_str).collect();
    fs::write(&request, version_of("pack0").dependencies(&dependencies).to_string()).unwrap();
    let build = || {
        let _ = fs::remove_dir_all(cache.path().join("environments"));
        let begun = Instant::now();
        start(&house, &uv, cache.path(), &request).wait().unwrap();
        begun.elapsed()
    };
    build(); // fills uv's cache
    let whole = build().min(build());
    let check = "import importlib, json\nfor pack in range(3):\n    for module in range(40):\n        assert importlib.import_module(f'pack{pack}_all.m{module}').HERE == module\n";
    let (mut complete, mut state) = (0, 7_u64);
    for round in 0..100 {
        // Every other time from the beginning: else it would be there from the first success on.
        if round % 2 == 0 {
            let _ = fs::remove_dir_all(cache.path().join("environments"));
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let moment = whole.mul_f64(f64::from(u32::try_from(state >> 48).unwrap()) / 65_536.0 * 1.2);
        let mut child = start(&house, &uv, cache.path(), &request);
        thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        for environment in environments_in(cache.path()) {
            complete += 1;
            let run =
                Command::new(environment.join("bin/python")).args(["-B", "-c", check]).output().unwrap();
            assert!(run.status.success(), "round {round}: {}", String::from_utf8_lossy(&run.stderr));
        }
    }
    assert!((10..95).contains(&complete), "{complete} of 100 were complete: the moments are not spread");
    assert!(start(&house, &uv, cache.path(), &request).wait().unwrap().success());
}

#[test]
fn what_a_killed_worker_still_installs_is_not_mixed_into_the_next_build() {
    let (house, go) = (five_versions(), tempfile::tempdir().unwrap());
    // The installation waits, and goes on when its worker is long dead.
    let wait = format!(
        "case $* in *dry-run*) ;; *alpha==1*) until [ -e {0}/go ]; do sleep 0.01; done ;; esac",
        go.path().display()
    );
    let uv = WatchedUv::new(&wait);
    let (cache, requests) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = |version: &str| {
        let path = requests.path().join(version);
        fs::write(&path, version_of("alpha").dependencies(&[&format!("alpha=={version}")]).to_string())
            .unwrap();
        path
    };
    let mut first = start(&house, &uv, cache.path(), &request("1.0"));
    assert!(wait_until(|| uv.installations() == 1));
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = start(&house, &uv, cache.path(), &request("2.0"));
    assert!(second.wait().unwrap().success());
    fs::write(go.path().join("go"), "").unwrap();
    let building = cache.path().join("environments/.building");
    let is_installed = || {
        let slots = fs::read_dir(&building).into_iter().flatten().flatten();
        slots.into_iter().any(|slot| slot.path().join("lib").exists())
    };
    assert!(wait_until(is_installed), "it installs into the place it had");
    let [environment] = &environments_in(cache.path())[..] else { panic!("one is complete") };
    let version = Command::new(environment.join("bin/python"))
        .args(["-c", "import alpha; print(alpha.VERSION)"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), "2.0\n");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let mount = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(mount.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let house = WheelHouse::new();
    house.add([Package::new("alpha", "1.0").file("large.txt", &"x".repeat(3 << 20))]);
    let farcall =
        Farcall::new().with_all(house.variables()).with("FARCALL_CACHE_DIR", mount.path().to_str().unwrap());
    let answer = farcall.answer(&version_of("alpha").dependencies(&["alpha"]));
    let after = fs::read_dir(mount.path().join("environments/.building")).into_iter().flatten().flatten();
    let left: Vec<_> = after.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let next = farcall.answer(&function("f", "def f(): return 1"));
    assert!(Command::new("umount").arg(mount.path()).status().unwrap().success());
    let error = answer.error();
    assert!(error.contains("the disk is full"), "{error}");
    assert!(left.is_empty() && environments_in(mount.path()).is_empty(), "{left:?}");
    assert_eq!(next.value(), 1);
}

#[test]
fn the_cache_is_bounded_but_what_is_in_use_stays() {
    let house = five_versions();
    // Smaller than one environment.
    let worker = Worker::options().with_all(house.variables()).with("FARCALL_CACHE_GB", "0.000001").start();
    let cache = worker.directory().join("cache");
    for major in 1..=5 {
        let request = version_of("alpha").dependencies(&[&format!("alpha=={major}.0")]);
        assert_eq!(worker.value(&request), format!("{major}.0"));
        assert!(
            environments_in(&cache).len() >= usize::from(major > 0),
            "the one of an idle runner is in use"
        );
    }
    drop(worker);
}

#[test]
fn idle_runners_of_other_environments_are_kept_as_many_as_are_wanted() {
    let house = five_versions();
    let code = "import os\ndef f():\n    import alpha\n    return os.getpid()\n";
    let request = |major: usize| function("f", code).dependencies(&[&format!("alpha=={major}.0")]);
    for (kept, is_same) in [("4", true), ("0", false)] {
        let options = Worker::options().with_all(house.variables()).with("FARCALL_IDLE_RUNNERS", kept);
        let worker = options.start();
        let before = worker.value(&request(1));
        worker.value(&request(2));
        assert_eq!(worker.value(&request(1)) == before, is_same, "kept: {kept}");
    }
}

#[test]
fn what_nobody_uses_any_more_goes_when_there_is_too_much() {
    let house = five_versions();
    let farcall = Farcall::new().with_all(house.variables()).with("FARCALL_CACHE_GB", "0.000001");
    for major in 1..=3 {
        farcall.answer(&version_of("alpha").dependencies(&[&format!("alpha=={major}.0")])).value();
    }
    let cache = farcall.directory().join("cache");
    assert!(wait_until(|| environments_in(&cache).len() <= 1), "{:?}", environments_in(&cache));
}

#[test]
fn another_worker_takes_an_environment_from_the_volume_without_uv() {
    let house = WheelHouse::new();
    house.add([
        Package::new("alpha", "1.0")
            .requires(&["beta"])
            .script("alpha-tool", "alpha:main")
            .file("alpha.py", "VERSION = '1.0'\ndef main(): print('tool')\n"),
        Package::new("beta", "1.0"),
    ]);
    let volume = tempfile::tempdir().unwrap();
    let request = function(
        "f",
        "import subprocess\ndef f():\n    import alpha, beta\n    return [alpha.VERSION, beta.VERSION, subprocess.run('alpha-tool', capture_output=True, text=True).stdout]\n",
    )
    .dependencies(&["alpha"]);
    let run = |uv: &WatchedUv| {
        let worker = Worker::options()
            .with_all(house.variables())
            .with("PATH", &uv.path())
            .with("FARCALL_VOLUME", volume.path().to_str().unwrap())
            .start();
        let answer = worker.call(&request);
        assert_eq!(value(&answer), json!(["1.0", "1.0", "tool\n"]));
        (worker, answer.stdout.unwrap_or_default())
    };
    let archives = || -> Vec<PathBuf> {
        let entries = fs::read_dir(volume.path().join("farcall")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "zst"))
            .collect()
    };
    let uv = WatchedUv::new("");
    let (worker, _) = run(&uv);
    assert!(wait_until(|| archives().len() == 1), "nothing was kept: {worker:?}");
    drop(worker);
    let unused = WatchedUv::new("");
    let (worker, output) = run(&unused);
    assert_eq!((unused.plans(), unused.installations()), (0, 0));
    assert!(output.starts_with("[farcall] took 2 packages from the volume in "), "{output}");
    drop(worker);
    // A damaged one is not used, and made anew.
    let archive = archives().remove(0);
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&archive, bytes).unwrap();
    let uv = WatchedUv::new("");
    let (worker, _) = run(&uv);
    assert_eq!(uv.installations(), 1);
    assert!(worker.logged("an archive on the volume is damaged").is_some());
    assert!(wait_until(|| archives().len() == 1));
}

#[test]
fn installations_are_seen_as_they_happen() {
    let (house, directory) = (five_versions(), tempfile::tempdir().unwrap());
    let go = directory.path().join("go");
    let wait =
        format!("case $* in *dry-run*) ;; *pip*) until [ -e {} ]; do sleep 0.01; done ;; esac", go.display());
    let uv = WatchedUv::new(&wait);
    let worker = Worker::options().with_all(house.variables()).with("PATH", &uv.path()).start();
    let mut events = worker.follow(&version_of("alpha").dependencies(&["alpha==1.0"]));
    assert_eq!(events.printed_until("\n"), "[farcall] installing alpha==1.0\n");
    assert!(wait_until(|| worker.logged("installing alpha==1.0").is_some()), "and in the worker's log");
    fs::write(&go, "").unwrap();
    let rest: String = events.rest().iter().map(e2e::Event::output).collect();
    assert!(rest.starts_with("[farcall] installed 1 package in "), "{rest}");
}
