//! Listening, reading requests, sending answers; faults of the connection are made here.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{interval, sleep};

use super::answer::Post;
use super::faults::Fault;
use super::jobs::Status;
use super::log::Recorded;
use super::reply::{Manner, Paced, Reply};
use super::route::{Path, Query, Route};
use super::settings::Settings;
use super::state::State;
use super::take::Take;
use super::{check, client, control, take};

/// What the server's thread and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// A job was queued.
    pub(super) arrived: Notify,
    /// A job is to be stopped.
    pub(super) stopped: Notify,
    /// A job was handed out, posted for, or ended.
    pub(super) changed: Condvar,
    /// Until then, nobody is here.
    pub(super) gone_until: watch::Sender<Option<Instant>>,
}

impl Shared {
    /// Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a condition, from a thread that is not the server's.
    pub(super) fn wait(&self, limit: Duration, condition: impl Fn(&State) -> bool) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, limit, |state| !condition(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        condition(&state)
    }

    /// Gives a job its final status from the platform's side.
    pub(super) fn end(&self, id: &str, status: Status) -> bool {
        let ended = self.lock().finish(id, status);
        self.stopped.notify_waiters();
        self.changed.notify_all();
        ended
    }
}

/// The connection is to be reset.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a fault of the platform")
    }
}

impl std::error::Error for Reset {}

/// Starts the server; it listens when this returns.
pub(super) fn start(settings: Settings) -> (SocketAddr, Arc<Shared>, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind((settings.host, settings.port)).expect("the port is free");
    listener.set_nonblocking(true).expect("sockets can be");
    let address = listener.local_addr().expect("it is bound");
    let shared = Arc::new(Shared {
        state: Mutex::new(State::new(settings.clone())),
        settings,
        arrived: Notify::new(),
        stopped: Notify::new(),
        changed: Condvar::new(),
        gone_until: watch::Sender::new(None),
    });
    let (stop, stopped) = oneshot::channel();
    let ours = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("fake-platform".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let listener = TcpListener::from_std(listener).expect("it does not block");
            tokio::select! {
                () = accept(&listener, &ours) => {}
                () = sweep(&ours) => {}
                _ = stopped => {}
            }
        });
    });
    (address, shared, stop, thread.expect("a thread can be started"))
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) if is_gone(shared) => drop(connection.set_zero_linger()),
            Ok((connection, _)) => drop(tokio::spawn(serve(connection, Arc::clone(shared)))),
            // Out of descriptors, say: the next one may be better.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn is_gone(shared: &Shared) -> bool {
    shared.gone_until.borrow().is_some_and(|until| Instant::now() < until)
}

/// Ten times a second: limits of jobs, silence of workers.
async fn sweep(shared: &Shared) {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        if shared.lock().sweep() {
            shared.arrived.notify_waiters();
            shared.stopped.notify_waiters();
            shared.changed.notify_all();
        }
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let _ = connection.set_nodelay(true);
    let mut gone = shared.gone_until.subscribe();
    let service = service_fn(|request| handle(&shared, request));
    let mut serving = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    let broken = tokio::select! {
        served = &mut serving => served.is_err(),
        _ = gone.changed() => true,
    };
    if broken {
        let _ = serving.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn handle(shared: &Shared, request: Request<Incoming>) -> Result<Response<Paced>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let route = Path::of(&parts.uri).route();
    let recorded = Recorded {
        at: Instant::now(),
        route,
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
    };
    let fault = {
        let mut state = shared.lock();
        if state.settings.record {
            state.log.push(recorded.clone());
        }
        state.faults.strike(route)
    };
    match fault {
        Some(Fault::ResetBefore) => return Err(Reset),
        Some(Fault::Delay(delay)) => sleep(delay).await,
        Some(Fault::Status(code)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            unprocessed(shared, &recorded);
            return Ok(Reply::error(status, "a fault of the platform").send(Manner::Whole));
        }
        _ => {}
    }
    let reply = answer(shared, &recorded, fault).await;
    match fault {
        Some(Fault::ResetAfter) => Err(Reset),
        Some(Fault::BrokenBody) => Ok(reply.send(Manner::Broken)),
        Some(Fault::SlowBody) => Ok(reply.send(Manner::Slowly)),
        _ => Ok(reply.send(Manner::Whole)),
    }
}

/// A refused ping is a ping all the same: the worker is not to blame.
fn unprocessed(shared: &Shared, request: &Recorded) {
    if let (Route::Ping, [.., worker]) = (request.route, &Path::of(&request.uri).segments[..]) {
        shared.lock().worker(worker).pinged_at = Instant::now();
    }
}

async fn answer(shared: &Shared, request: &Recorded, fault: Option<Fault>) -> Reply {
    let path = Path::of(&request.uri);
    let segments = &path.segments[..];
    match (request.route, segments) {
        (Route::Control, _) => control::answer(shared, segments, request),
        (Route::Client, _) => client::answer(shared, &segments[1..], request).await,
        (_, ["v2", endpoint, ..]) if *endpoint != shared.settings.endpoint => {
            Reply::error(StatusCode::NOT_FOUND, "endpoint not found")
        }
        (route, ["v2", _, _, worker, job @ ..]) => {
            let query = Query::of(&request.uri);
            check::request(&mut shared.lock(), request, worker, &query);
            match (route, job) {
                (Route::Take | Route::Batch, _) => {
                    take::take(shared, Take { worker, query, route, fault }).await
                }
                (Route::Stop, _) => take::stop(shared, worker).await,
                (Route::Done | Route::Stream, [job]) => {
                    posted(shared, &Post { worker, job, query, request, fault }, route)
                }
                _ => take::ping(&mut shared.lock(), worker, &query),
            }
        }
        _ => Reply::error(StatusCode::NOT_FOUND, "no such path"),
    }
}

fn posted(shared: &Shared, post: &Post<'_>, route: Route) -> Reply {
    let mut state = shared.lock();
    let reply = if route == Route::Done { state.done(post) } else { state.chunk(post) };
    drop(state);
    shared.changed.notify_all();
    reply
}
