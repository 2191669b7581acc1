//! A shared runner: many invocations of asynchronous code at once.
//!
//! A task owns the process and its channel; invocations talk to it by messages. What Python prints arrives
//! labelled with its invocation; what native code prints to the pipe can only be told to be of all that run.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use farcall_protocol::codec;
use farcall_protocol::frame::{FromRunner, Invoke, ToRunner};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::invoke::{Assignment, until};
use super::output::CallOutput;
use super::report::{Death, Ending, Interruption, Report};
use super::{Event, Runner};

/// In front of native output that several calls may have made.
const LABEL: &str = "[farcall: from native code, of one of the calls that share this runner] ";

/// A handle on a shared runner. The process ends when the last handle goes.
#[derive(Debug, Clone)]
pub(super) struct SharedRunner {
    orders: mpsc::UnboundedSender<Order>,
    ended: CancellationToken,
}

#[derive(Debug)]
enum Order {
    Start { invoke: Invoke, request: Bytes, output: Box<CallOutput>, report: oneshot::Sender<Report> },
    Interrupt { id: u64, interruption: Interruption },
}

struct Active {
    output: CallOutput,
    report: oneshot::Sender<Report>,
    interruption: Option<(Interruption, Instant)>,
}

struct Actor {
    runner: Runner,
    active: HashMap<u64, Active>,
    outgoing: VecDeque<Bytes>,
    ended: CancellationToken,
}

impl SharedRunner {
    /// Puts a ready runner to shared use.
    pub(super) fn new(runner: Runner) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let at_end = ended.clone();
        let actor = Actor { runner, active: HashMap::new(), outgoing: VecDeque::new(), ended: at_end };
        tokio::spawn(actor.run(received));
        Self { orders, ended }
    }

    /// Whether its process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Runs an assignment beside others. There is no report if the runner was dead before it took it.
    pub(super) async fn invoke(&self, assignment: Assignment, max_output_bytes: usize) -> Option<Report> {
        let Assignment { invoke, request, timeout, cancelled, follower, log, preface } = assignment;
        let id = invoke.id;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut output = Box::new(CallOutput::new(max_output_bytes, log, follower));
        output.begin_with(&preface);
        let (report, mut reported) = oneshot::channel();
        let _ = self.orders.send(Order::Start { invoke, request, output, report });
        let mut interrupted = false;
        loop {
            let interruption = tokio::select! {
                report = &mut reported => return report.ok(),
                () = until(deadline), if !interrupted => {
                    Interruption::TimedOut { timeout: timeout.unwrap_or_default(), stacks: String::new() }
                }
                () = cancelled.cancelled(), if !interrupted => Interruption::Cancelled,
            };
            interrupted = true;
            let _ = self.orders.send(Order::Interrupt { id, interruption });
        }
    }
}

impl Actor {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let kill_at =
                self.active.values().filter_map(|active| Some(active.interruption.as_ref()?.1)).min();
            let Runner { channel, output, process, .. } = &mut self.runner;
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return self.runner.stop().await,
                },
                frame = channel.exchange(&mut self.outgoing) => match frame {
                    Ok((message, body)) => self.receive(message, body),
                    Err(error) => {
                        debug!(%error, "channel to the shared runner broke");
                        self.runner.kill().await;
                        return self.die(false);
                    }
                },
                text = output.read_some() => self.share(&text),
                _ = process.wait() => return self.die(false),
                () = until(kill_at) => {
                    self.runner.kill().await;
                    return self.die(true);
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { invoke, request, output, report } => {
                let id = invoke.id;
                self.enqueue(&ToRunner::Invoke(invoke), request);
                self.active.insert(id, Active { output: *output, report, interruption: None });
            }
            Order::Interrupt { id, mut interruption } => {
                if !self.active.contains_key(&id) {
                    return;
                }
                if let Interruption::TimedOut { stacks, .. } = &mut interruption {
                    *stacks = self.runner.evidence.ask(&self.runner.process).await;
                }
                self.enqueue(&ToRunner::Cancel { id }, Bytes::new());
                let kill_at = Instant::now() + self.runner.settings.cancel_grace;
                if let Some(active) = self.active.get_mut(&id) {
                    active.interruption = Some((interruption, kill_at));
                }
            }
        }
    }

    fn enqueue(&mut self, message: &ToRunner, body: Bytes) {
        match codec::encode_head(message, body.len()) {
            Ok(head) => self.outgoing.extend([head.into(), body]),
            Err(error) => debug!(%error, "cannot encode a message to the runner"),
        }
    }

    fn receive(&mut self, message: FromRunner, body: Vec<u8>) {
        match message {
            FromRunner::Output { id } => {
                if let Some(active) = self.active.get_mut(&id) {
                    active.output.take(&body);
                    active.output.deliver_now();
                }
            }
            FromRunner::Progress { id } => {
                if let Some(active) = self.active.get_mut(&id) {
                    active.output.tell_now(Event::Progress(body));
                }
            }
            FromRunner::Chunk(chunk) => {
                if let Some(active) = self.active.get_mut(&chunk.id) {
                    active.output.tell_now(Event::Chunk(chunk, body));
                }
            }
            FromRunner::Waits { id } => {
                let active = self.active.get_mut(&id);
                if let Some((interruption, _)) = active.and_then(|active| active.interruption.as_mut()) {
                    interruption.waited(&body);
                }
            }
            FromRunner::Done(done) => {
                // What the call printed natively is in the pipe by now.
                let text = self.runner.output.take_all();
                self.share(&text);
                let Some(mut active) = self.active.remove(&done.id) else { return };
                active.output.deliver_now();
                let ending = match active.interruption {
                    Some((interruption, _)) => Ending::Interrupted(interruption),
                    None => Ending::Answered(done, body),
                };
                let _ = active.report.send(Report { ending, output: active.output.into_text() });
            }
            unexpected => debug!(?unexpected, "unexpected frame"),
        }
    }

    /// Gives native output to the call that runs, or labelled to all that do.
    fn share(&mut self, text: &[u8]) {
        let label = if self.active.len() > 1 { LABEL } else { "" };
        for active in self.active.values_mut().filter(|_| !text.is_empty()) {
            active.output.take(label.as_bytes());
            active.output.take(text);
            active.output.deliver_now();
        }
    }

    /// Answers every call. `killed` says that one of them would not end.
    fn die(mut self, killed: bool) {
        // First: whoever gets an answer must not be given this runner again.
        self.ended.cancel();
        if self.active.len() == 1 && !killed && self.runner.channel.left_unread() {
            self.active.retain(|_, active| active.interruption.is_some()); // what goes has not begun
        }
        let text = self.runner.output.take_all();
        self.share(&text);
        let Death { exit, out_of_memory, memory_limit_bytes, stacks, .. } = self.runner.death();
        for (_, active) in self.active.drain() {
            let stacks = stacks.clone();
            let ending = match active.interruption {
                Some((interruption, _)) => Ending::Interrupted(interruption),
                None => Ending::Died(Death {
                    exit,
                    out_of_memory,
                    memory_limit_bytes,
                    stacks,
                    for_another: killed,
                }),
            };
            let _ = active.report.send(Report { ending, output: active.output.into_text() });
        }
    }
}
