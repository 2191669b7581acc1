//! Limits of runners: memory, open files, and the temporary directory that goes with them.

use e2e::{Worker, function, small_disk, wait_until};
use serde_json::json;

#[test]
fn a_call_that_wants_more_memory_than_allowed_fails_and_the_next_one_runs() {
    let worker = Worker::options().with("FARCALL_RUNNER_MEMORY_MB", "512").start();
    for _ in 0..3 {
        let error = worker.error(&function(
            "f",
            "def f():\n    kept = []\n    while True: kept.append(bytearray(16 << 20))",
        ));
        assert!(error.contains("out of memory") || error.contains("MemoryError"), "{error}");
        assert_eq!(worker.value(&function("g", "def g(): return len(bytearray(64 << 20))")), json!(64 << 20));
    }
}

#[test]
fn a_runner_may_open_so_many_files() {
    for limit in [64_u64, 256] {
        let worker = Worker::options().with("FARCALL_RUNNER_OPEN_FILES", &limit.to_string()).start();
        let code = "import os\ndef f():\n    files = []\n    try:\n        while True: files.append(open('/dev/null'))\n    except OSError as error:\n        return len(files)";
        let opened = worker.value(&function("f", code)).as_u64().unwrap();
        assert!((limit / 2..limit).contains(&opened), "{opened} of {limit}");
        assert_eq!(worker.value(&function("g", "async def g(): return 'next'")), json!("next"));
    }
}

#[test]
fn temporary_files_go_with_their_runner() {
    let worker = Worker::start();
    let code = "
import os, tempfile
def f(die):
    path = tempfile.mkdtemp()
    open(path + '/file', 'w').write('x')
    os.makedirs(path + '/a/b')
    if die:
        print(path)
        os._exit(1)
    return path";
    let kept = worker.value(&function("f", code).args(json!([false])));
    assert!(std::path::Path::new(kept.as_str().unwrap()).exists());
    let gone = worker.call(&function("f", code).args(json!([true]))).stdout.unwrap();
    assert!(wait_until(|| !std::path::Path::new(gone.trim()).exists()), "{gone}");
    let mut worker = worker;
    worker.signal("TERM");
    assert_eq!(worker.await_exit().code(), Some(0));
    assert_eq!(worker.runner_directories(), 0);
}

#[test]
fn a_full_disk_is_told_with_the_file_and_a_hint() {
    let Some(launcher) = small_disk("256k", "") else { return };
    let worker = Worker::options().launched_by(&launcher).start();
    let large = format!("def f(): return 1\n{}", "#".repeat(1 << 20));
    for request in [
        function("f", &large),
        function("f", "import helper\ndef f(): return 1").modules(&[("helper.py", &large)]),
    ] {
        let error = worker.error(&request);
        assert!(error.contains("cannot write `/") && error.contains(".py`: No space left"), "{error}");
        assert!(error.contains("\nhint: its disk is full: free space there"), "{error}");
    }
    assert_eq!(worker.value(&function("g", "def g(): return 1")), json!(1));
}
