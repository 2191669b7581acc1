use super::*;

fn record(seq: i64, low_priority: bool) -> Record {
    Record {
        seq,
        id: format!("job-{seq}"),
        name: String::new(),
        status: Status::InQueue,
        low_priority,
        is_sync: false,
        attempts: 0,
        retries: 0,
        created_ms: 0,
        queued_ms: 0,
        started_ms: None,
        finished_ms: None,
        ttl_ms: 1000 - seq,
        timeout_ms: None,
        webhook: None,
        input_bytes: 0,
        error: None,
    }
}

fn queue(jobs: &[(i64, bool)]) -> Queue {
    let mut queue = Queue::default();
    jobs.iter().for_each(|(seq, low)| queue.enter(record(*seq, *low), Some(Bytes::from_static(b"{}")), None));
    queue
}

#[test]
fn jobs_begin_in_order_those_of_low_priority_last() {
    let mut queue = queue(&[(1, true), (2, false), (3, false)]);
    let token = CancellationToken::new();
    let order: Vec<i64> =
        std::iter::from_fn(|| queue.begin(9, &token)).map(|begun| begun.record.seq).collect();
    assert_eq!(order, [2, 3, 1]);
    assert_eq!((queue.running, queue.input_bytes), (3, 0));
}

#[test]
fn no_more_begin_than_may_run() {
    let mut queue = queue(&[(1, false), (2, false)]);
    let token = CancellationToken::new();
    assert!(queue.begin(1, &token).is_some() && queue.begin(1, &token).is_none());
    queue.running -= 1;
    assert!(queue.begin(1, &token).is_some());
}

#[test]
fn a_job_that_waits_again_keeps_its_turn() {
    let mut queue = queue(&[(1, false), (2, false)]);
    let token = CancellationToken::new();
    let begun = queue.begin(1, &token).unwrap();
    queue.running -= 1;
    queue.wait_again(&begun.id, 0);
    assert_eq!(queue.begin(1, &token).unwrap().record.seq, 1);
}

#[test]
fn deadlines_come_in_their_order_and_go_with_their_jobs() {
    let mut queue = queue(&[(1, false), (2, false), (3, false)]);
    queue.remove("job-3");
    assert_eq!(queue.take_overdue(998), [Arc::from("job-2")]);
    assert_eq!(queue.take_overdue(2000), [Arc::from("job-1")]);
}
