//! A queue whose disk is full: what cannot be taken is refused, and what was taken is not lost.

use e2e::{LocalEndpoint, Request, function, small_disk, wait_until};
use serde_json::{Value, json};

/// Leaves no byte of room.
const FILL: &str = "\
import os
def f():
    with open('data/filler', 'wb', buffering=0) as filler:
        try:
            for size in (65536, 4096, 1):
                while filler.write(bytes(size)) == size: pass
        except OSError as error:
            return error.errno
    return 0";

fn answer(endpoint: &LocalEndpoint, request: &Request) -> Value {
    endpoint.runsync(request)["output"]["json_result"].clone()
}

#[test]
fn what_was_taken_is_finished_and_written_when_there_is_room_again() {
    let Some(launcher) = small_disk("3m", "data") else { return };
    let endpoint = LocalEndpoint::options().with("FARCALL_CONCURRENCY", "3").launched_by(&launcher).start();
    // One whose result has a file of its own, and one whose result lies in the database.
    let code = "\
import os, time
def f(size):
    while not os.path.exists('tmp/end'): time.sleep(0.01)
    return 'x' * size";
    let taken = [100_000, 10].map(|size| (endpoint.run(&function("f", code).args(json!([size]))), size));
    endpoint.await_status(&taken[0].0, "IN_PROGRESS");

    assert_eq!(answer(&endpoint, &function("f", FILL)), json!(28), "ENOSPC");
    let refused = endpoint.ask(
        "POST",
        "run",
        &json!({"input": function("g", "def g(): return 1").input()}).to_string(),
    );
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(refused.text().contains("its disk is full\\nhint: free space there"), "{}", refused.text());

    endpoint.touch("tmp/end");
    assert!(wait_until(|| endpoint.log().contains("a change waits for room")), "{}", endpoint.log());
    assert_eq!(
        answer(&endpoint, &function("f", "import os\ndef f(): os.remove('data/filler')")),
        Value::Null
    );
    for (id, size) in &taken {
        let document = endpoint.await_status(id, "COMPLETED");
        assert_eq!(document["output"]["json_result"].as_str().map(str::len), Some(*size), "{id}");
    }
    endpoint.await_status(&endpoint.run(&function("g", "def g(): return 1")), "COMPLETED");
}
