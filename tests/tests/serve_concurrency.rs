//! Several calls at a time: who runs beside whom, in which process, and whose output is whose.

use std::collections::BTreeSet;

use e2e::{Request, Worker, class, function, value};
use serde_json::{Value, json};

const FOUR: (&str, &str) = ("FARCALL_CONCURRENCY", "4");

fn worker_for_four() -> Worker {
    Worker::options().with(FOUR.0, FOUR.1).start()
}

/// Python: `meet(n, me, count)` returns once `count` callers have called it.
fn meeting(worker: &Worker) -> String {
    format!(
        "import os, time
def mark(me): open({0:?} + '/met-' + str(me), 'w').close()
def met(): return sum(name.startswith('met-') for name in os.listdir({0:?}))
",
        worker.directory().display().to_string()
    )
}

#[test]
fn synchronous_calls_run_in_processes_of_their_own_at_the_same_time() {
    let worker = worker_for_four();
    let code = meeting(&worker)
        + "
def f(me):
    mark(me)
    while met() < 4: time.sleep(0.005)
    return os.getpid()";
    let calls = (0..4).map(|me| function("f", &code).args(json!([me])).with("timeout", 15));
    let pids =
        worker.at_once(calls).iter().map(|response| value(response).to_string()).collect::<BTreeSet<_>>();
    assert_eq!(pids.len(), 4);
}

#[test]
fn asynchronous_calls_share_one_process_and_its_event_loop() {
    let worker = worker_for_four();
    let code = "
import asyncio, os
waiting = []
async def f():
    waiting.append(asyncio.Event())
    if len(waiting) == 4:
        for event in waiting: event.set()
    await waiting[-1].wait() if len(waiting) == 4 else await waiting[len(waiting) - 1].wait()
    return [os.getpid(), id(asyncio.get_running_loop())]";
    let answers = worker.at_once((0..4).map(|_| function("f", code).with("timeout", 15)));
    let seen = answers.iter().map(|response| value(response).to_string()).collect::<BTreeSet<_>>();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn an_instance_lives_in_one_process_even_if_its_first_calls_come_together() {
    let worker = worker_for_four();
    let code = "
import os, time
class Counter:
    def __init__(self):
        time.sleep(0.1)
        self.count = 0
    def go(self):
        self.count += 1
        return [os.getpid(), self.count]";
    let answers = worker.at_once((0..4).map(|_| class("Counter", code, "go")));
    let answers = answers.iter().map(value).collect::<Vec<_>>();
    let mut counts = answers.iter().map(|answer| answer[1].as_u64().unwrap()).collect::<Vec<_>>();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4], "{answers:?}");
    assert!(answers.iter().all(|answer| answer[0] == answers[0][0]), "{answers:?}");
}

#[test]
fn instances_work_beside_each_other() {
    let worker = worker_for_four();
    let code = meeting(&worker)
        + "
class Meeter:
    def go(self, me):
        mark(me)
        while met() < 2: time.sleep(0.005)
        return os.getpid()";
    let go =
        |me: &str| class("Meeter", &code, "go").with("instance_id", me).args(json!([me])).with("timeout", 15);
    let answers = worker.at_once([go("one"), go("two")]);
    assert_ne!(value(&answers[0]), value(&answers[1]));
    assert_eq!(worker.value(&go("one")), value(&answers[0]));
    assert_eq!(worker.value(&go("two")), value(&answers[1]));
}

#[test]
fn a_synchronous_method_finds_the_instance_an_asynchronous_one_has_made() {
    let worker = worker_for_four();
    let code = "
class Model:
    def __init__(self): self.loaded = 0
    async def load(self):
        self.loaded += 1
        return self.loaded
    def get(self): return self.loaded";
    assert_eq!(worker.value(&class("Model", code, "load")), json!(1));
    assert_eq!(worker.value(&class("Model", code, "get")), json!(1));
    assert_eq!(worker.value(&class("Model", code, "load")), json!(2));
    assert_eq!(worker.value(&class("Model", code, "get")), json!(2));
}

#[test]
fn calls_are_served_in_order_of_arrival() {
    let worker = Worker::start();
    let order = worker.path("order");
    let code = "
import os, time
def f(me, order, go):
    open(order, 'a').write(f'{me} ')
    while me == 0 and not os.path.exists(go): time.sleep(0.005)";
    let mut connections = Vec::new();
    for me in 0..8 {
        let mut connection = worker.connect();
        let request = function("f", code).args(json!([me, order, worker.path("go")]));
        connection.send("POST", "/execute", &[], request.to_string().as_bytes());
        if me == 0 {
            worker.await_file("order");
        }
        assert_eq!(worker.ping().status, 200, "the worker has read what came before");
        connections.push(connection);
    }
    worker.touch("go");
    for mut connection in connections {
        connection.answer().call();
    }
    assert_eq!(worker.await_file("order"), "0 1 2 3 4 5 6 7 ");
}

/// Prints in every way Python code can, while three others do the same.
const PRINTS: &str = "
import asyncio, logging, sys, threading, os
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
arrived = []
log = logging.getLogger('shared')
log.addHandler(logging.StreamHandler(sys.stdout))
log.setLevel('INFO')
gate = None
async def f(me):
    global gate
    gate = gate or asyncio.Event()
    arrived.append(me)
    if len(arrived) == 4: gate.set()
    await gate.wait()
    for step in range(5):
        print(f'<{me}> print {step}')
        await asyncio.sleep(0)
    log.info(f'<{me}> log')
    await asyncio.to_thread(print, f'<{me}> to_thread')
    await asyncio.get_running_loop().run_in_executor(pool, print, f'<{me}> pool')
    await asyncio.get_running_loop().run_in_executor(None, print, f'<{me}> default executor')
    thread = threading.Thread(target=print, args=(f'<{me}> thread',))
    thread.start()
    thread.join()
    async def child(): print(f'<{me}> task')
    await asyncio.gather(child(), asyncio.create_task(child()))
    sys.stderr.write(f'<{me}> stderr\\n')
    for step in range(200): print(f'<{me}> burst {step}')
    return me";

#[test]
fn what_python_code_prints_belongs_to_its_call_however_many_run() {
    let worker = worker_for_four();
    for round in 0..3 {
        let code = PRINTS.replace("'shared'", &format!("'shared {round}'"));
        let answers =
            worker.at_once((0..4).map(|me| function("f", &code).args(json!([me])).with("timeout", 15)));
        for (me, response) in answers.iter().enumerate() {
            assert_eq!(value(response), json!(me));
            let output = response.stdout.as_deref().unwrap();
            let mark = format!("<{me}>");
            let foreign = output.lines().filter(|line| !line.starts_with(&mark)).collect::<Vec<_>>();
            assert!(foreign.is_empty(), "{me}: {foreign:?}");
            assert_eq!(output.lines().count(), 5 + 5 + 2 + 1 + 200, "{output}");
        }
    }
}

#[test]
fn what_native_code_prints_is_told_to_all_and_labelled() {
    let worker = worker_for_four();
    let code = "
import asyncio, os
gate = None
count = 0
async def f(me):
    global gate, count
    gate = gate or asyncio.Event()
    count += 1
    if count == 2: gate.set()
    await gate.wait()
    if me == 0: os.write(1, b'native\\n')
    process = await asyncio.create_subprocess_exec('echo', f'child of {me}')
    await process.wait()
    count -= 1
    while count: await asyncio.sleep(0.005)
    return me";
    let answers = worker.at_once((0..2).map(|me| function("f", code).args(json!([me])).with("timeout", 15)));
    for response in &answers {
        let output = response.stdout.as_deref().unwrap();
        assert!(output.contains("one of the calls that share this runner] "), "{output}");
        assert!(output.contains("native\n"), "{output}");
        assert!(output.contains("child of 0\n") && output.contains("child of 1\n"), "{output}");
    }
}

#[test]
fn a_cooperative_timeout_leaves_the_other_calls_alone() {
    let worker = worker_for_four();
    let code = format!(
        "import asyncio, os
async def f(me):
    open({:?} + str(me), 'w').write('x')
    await asyncio.sleep(600 if me == 'slow' else 0)
    while me != 'slow' and not os.path.exists({:?}): await asyncio.sleep(0.005)
    return [me, os.getpid()]",
        worker.path(""),
        worker.path("go")
    );
    let good = worker.begin(function("f", &code).args(json!(["good"])));
    worker.await_file("good");
    let error = worker.error(&function("f", &code).args(json!(["slow"])).with("timeout", 0.1));
    assert!(error.starts_with("the call timed out after 0.1 s\nTask (most recent call first):\n"), "{error}");
    assert!(error.contains("f.py\", line 4 in f\n"), "{error}");
    assert!(!good.is_answered());
    worker.touch("go");
    let pid = value(&good.answer())[1].clone();
    assert_eq!(worker.value(&function("f", &code).args(json!(["next"])))[1], pid, "the runner lives");
}

#[test]
fn a_call_that_blocks_the_event_loop_is_killed_and_the_others_are_told_why() {
    let worker = Worker::options().with(FOUR.0, FOUR.1).with("FARCALL_CANCEL_GRACE_S", "1").start();
    let code = format!(
        "import asyncio, time
async def f(me):
    open({:?} + me, 'w').write('x')
    if me == 'blocks': time.sleep(600)
    await asyncio.sleep(600)",
        worker.path("")
    );
    let sibling = worker.begin(function("f", &code).args(json!(["sibling"])));
    worker.await_file("sibling");
    let error = worker.error(&function("f", &code).args(json!(["blocks"])).with("timeout", 0.2));
    assert!(error.contains("timed out after 0.2 s") && error.contains("f.py\", line 4 in f"), "{error}");
    let error = sibling.answer().error.unwrap_or_default();
    assert!(error.contains("another call that shared it did not end"), "{error}");
    assert_eq!(worker.value(&function("g", "async def g(): return 'next'")), json!("next"));
}

#[test]
fn a_dying_shared_runner_answers_everybody_and_a_new_one_comes() {
    let worker = worker_for_four();
    let code = format!(
        "import asyncio, os
async def f(me):
    open({:?} + me, 'w').write('x')
    if me == 'dies': os._exit(3)
    await asyncio.sleep(600)",
        worker.path("")
    );
    for _ in 0..5 {
        let sibling = worker.begin(function("f", &code).args(json!(["sibling"])));
        worker.await_file("sibling");
        std::fs::remove_file(worker.path("sibling")).unwrap();
        assert!(worker.error(&function("f", &code).args(json!(["dies"]))).contains("exit code 3"));
        assert!(sibling.answer().error.is_some_and(|error| error.contains("exit code 3")));
        assert_eq!(worker.value(&function("g", "async def g(): return 'next'")), json!("next"));
    }
}

#[test]
fn modules_shipped_along_are_not_mixed_up() {
    let worker = worker_for_four();
    let request = |me: u32| -> Request {
        function("f", "async def f():\n    import asyncio, shipped\n    await asyncio.sleep(0.01)\n    return shipped.ME")
            .modules(&[("shipped.py", &format!("ME = {me}"))])
    };
    let answers = worker.at_once((0..12).map(request));
    let answers = answers.iter().map(value).collect::<Vec<Value>>();
    assert_eq!(answers, (0..12).map(|me| json!(me)).collect::<Vec<_>>());
}

#[test]
fn sixty_four_clients_are_each_answered_once() {
    let worker = worker_for_four();
    let request = |me: u32| match me % 2 {
        0 => function("f", "def f(me):\n    print(me)\n    return me").args(json!([me])),
        _ => function(
            "f",
            "import asyncio\nasync def f(me):\n    print(me)\n    await asyncio.sleep(0.002)\n    return me",
        )
        .args(json!([me])),
    };
    for (me, response) in worker.at_once((0..64).map(request)).iter().enumerate() {
        assert_eq!(value(response), json!(me));
        assert_eq!(response.stdout, Some(format!("{me}\n")));
    }
}
