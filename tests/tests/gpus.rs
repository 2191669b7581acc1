//! GPUs, as far as a machine without one can tell: what the worker asks, what it says, and which ones a call sees. A
//! script stands in for NVIDIA's program, in the words that it was seen to use.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use e2e::platform::Platform;
use e2e::{Farcall, QueueWorker, Worker, function, value, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const SEES: &str = "import os\ndef f(): return os.environ.get('CUDA_VISIBLE_DEVICES')\n";

/// A `PATH` with a `nvidia-smi` that knows of GPUs, by their names, and of a version of CUDA.
fn nvidia_smi(gpus: &[&str], cuda: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("the test machine allows it");
    let listed: String = gpus.iter().map(|name| format!("echo '{name}, 81559 MiB, 550.54.15'\n")).collect();
    let head = format!("| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: {cuda:8} |");
    let script = format!("#!/bin/sh\ncase \"$*\" in\n*query-gpu*) {listed};;\n*) echo '{head}';;\nesac\n");
    let program = directory.path().join("nvidia-smi");
    std::fs::write(&program, script).expect("the test machine allows it");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
        .expect("the test machine allows it");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("there is a PATH"));
    (directory, path)
}

fn found(farcall: &Farcall) -> (String, String) {
    let finished = farcall.run(["doctor", "--json"]);
    let report: Value = serde_json::from_str(&finished.stdout).expect("it is one object");
    let checks = report["checks"].as_array().expect("it lists checks");
    let gpu = checks.iter().find(|check| check["name"] == "gpu").expect("GPUs are looked for");
    let text = |key: &str| gpu[key].as_str().expect("it is text").to_owned();
    (text("verdict"), text("found"))
}

#[test]
fn doctor_tells_how_many_there_are_and_what_their_driver_knows() {
    let (_directory, path) = nvidia_smi(&["NVIDIA H100 80GB HBM3"; 2], "12.4");
    let (verdict, text) = found(&Farcall::new().with("PATH", &path).with("CUDA_VERSION", "12.8.1"));
    assert_eq!(verdict, "ok", "{text}");
    assert_eq!(text, "2 x NVIDIA H100 80GB HBM3, 81559 MiB, driver 550.54.15, CUDA 12.4");
}

#[test]
fn a_driver_too_old_for_the_image_is_told_with_what_would_do() {
    let (_directory, path) = nvidia_smi(&["NVIDIA A40"], "12.4");
    let (verdict, text) = found(&Farcall::new().with("PATH", &path).with("CUDA_VERSION", "13.0.1"));
    assert_eq!(verdict, "missing");
    assert!(text.starts_with("the driver (550.54.15) knows CUDA 12.4 at most, and the image has CUDA 13.0: a queue worker would take no jobs\nhint: "), "{text}");
    let farcall = Farcall::new().with("PATH", &path).with("RUNPOD_MIN_CUDA_VERSION", "12.6");
    let (verdict, text) = found(&farcall);
    assert_eq!(verdict, "missing");
    assert!(text.contains("RUNPOD_MIN_CUDA_VERSION asks for 12.6"), "{text}");
}

#[test]
fn a_driver_that_lists_none_is_told() {
    let (_directory, path) = nvidia_smi(&[], "12.4");
    let (verdict, text) = found(&Farcall::new().with("PATH", &path));
    assert_eq!(
        (verdict.as_str(), text.as_str()),
        ("missing", "nvidia-smi lists none: a queue worker would take no jobs")
    );
}

#[test]
fn an_image_for_gpus_says_that_there_is_none() {
    let (verdict, text) = found(&Farcall::new().with("FARCALL_EXPECT_GPU", "1"));
    assert_eq!(verdict, "missing");
    assert!(
        text.starts_with("there is none, and this image is made for one") && text.contains("hint: "),
        "{text}"
    );
    let worker = Worker::options().with("FARCALL_EXPECT_GPU", "1").start();
    assert!(wait_until(|| worker.logged("no GPU can be used").is_some()), "{worker:?}");
    assert_eq!(worker.value(&function("f", "def f(): return 1")), 1, "it works all the same");
}

#[test]
fn a_queue_worker_for_gpus_takes_no_jobs_without_one() {
    let platform = Platform::start();
    let variables = [
        ("FARCALL_EXPECT_GPU", "1"),
        ("RUNPOD_SKIP_FITNESS_CHECKS", "0"),
        ("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "1"),
    ];
    let mut worker = QueueWorker::start(&platform, &variables);
    assert_eq!(worker.wait().code(), Some(1), "{}", worker.log());
    assert!(worker.log().contains("this image is made for one"), "{}", worker.log());
}

#[test]
fn calls_at_the_same_time_see_a_gpu_each() {
    let worker = Worker::options()
        .with("CUDA_VISIBLE_DEVICES", "GPU-left,GPU-right")
        .with("FARCALL_CONCURRENCY", "2")
        .start();
    let code = format!(
        "import os, time\ndef f(me):\n    here = {:?}\n    open(f'{{here}}/met-{{me}}', 'w').close()\n    while sum(name.startswith('met-') for name in os.listdir(here)) < 2: time.sleep(0.005)\n    return os.environ['CUDA_VISIBLE_DEVICES']\n",
        worker.directory().display().to_string()
    );
    let calls = (0..2).map(|me| function("f", &code).args(json!([me])).with("timeout", 15));
    let seen: BTreeSet<String> =
        worker.at_once(calls).iter().map(|response| value(response).as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, BTreeSet::from(["GPU-left".to_owned(), "GPU-right".to_owned()]));
}

#[test]
fn a_call_alone_sees_all_of_them_and_so_does_one_that_is_asynchronous() {
    let all = [("CUDA_VISIBLE_DEVICES", "0,1"), ("FARCALL_CONCURRENCY", "1")];
    let alone = Worker::options().with_all(all.map(|(name, text)| (name, text.to_owned()))).start();
    assert_eq!(alone.value(&function("f", SEES)), "0,1");
    let several = Worker::options().with(all[0].0, all[0].1).with("FARCALL_CONCURRENCY", "2").start();
    assert_eq!(several.value(&function("f", &SEES.replace("def", "async def"))), "0,1");
}

#[test]
fn how_many_a_runner_sees_can_be_told() {
    let farcall = Farcall::new().with("CUDA_VISIBLE_DEVICES", "0,1,2").with("FARCALL_GPUS_PER_RUNNER", "2");
    assert_eq!(farcall.answer(&function("f", SEES)).value(), "0,1");
    let finished = farcall.with("FARCALL_GPUS_PER_RUNNER", "none").run(["doctor"]);
    assert_eq!(finished.code, 64);
    assert!(finished.stderr.contains("FARCALL_GPUS_PER_RUNNER=\"none\" is not auto, all"), "{finished:?}");
}
