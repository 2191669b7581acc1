//! The names, defaults and meanings of every variable.

/// A variable with its documentation.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// The value that counts when it is unset or empty.
    pub default: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// Every variable, in the order of the reference page.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "FARCALL_PYTHON",
        default: "the active virtual environment's, that of the one farcall is installed in, then `python3` on `PATH`",
        description: "The interpreter that runs user code: a path, or a name to look up on `PATH`. CPython 3.10 or later.",
    },
    Variable {
        name: "FARCALL_LIBPYTHON",
        default: "`auto`",
        description: "`auto` loads the interpreter's shared library where there is one; `never` runs the interpreter's executable instead of loading its shared library.",
    },
    Variable {
        name: "FARCALL_CACHE_DIR",
        default: "`$XDG_CACHE_HOME/farcall` or `~/.cache/farcall`",
        description: "What may be kept between starts and thrown away at any time.",
    },
    Variable {
        name: "FARCALL_CACHE_GB",
        default: "`20`",
        description: "Disk space for environments of installed packages, in GiB; beyond it the least recently used go. One that is in use never goes.",
    },
    Variable {
        name: "FARCALL_VOLUME",
        default: "`/runpod-volume`",
        description: "A directory that workers share, if it is there: environments are kept in it as archives, so that another worker need not build them again.",
    },
    Variable {
        name: "FARCALL_VOLUME_GB",
        default: "`20`",
        description: "Disk space for them on the volume, in GiB.",
    },
    Variable {
        name: "FARCALL_IDLE_RUNNERS",
        default: "`4`",
        description: "Idle runners, beyond as many as run at a time, that are kept for calls with other dependencies than the latest. They hold what their code has loaded, GPU memory included: `0` where that is needed for one at a time.",
    },
    Variable {
        name: "FARCALL_INSTALL_TIMEOUT_S",
        default: "`300`",
        description: "Seconds that installing what one request needs may take.",
    },
    Variable {
        name: "HOST",
        default: "`0.0.0.0` on the platform (`RUNPOD_ENDPOINT_ID` or `RUNPOD_POD_ID` is set), else `127.0.0.1`",
        description: "Address that `farcall serve` listens on.",
    },
    Variable { name: "PORT", default: "`80` on the platform, else `8000`", description: "Port of the same." },
    Variable {
        name: "PORT_HEALTH",
        default: "`PORT`",
        description: "Port that answers `/ping`, if it is another one.",
    },
    Variable {
        name: "FARCALL_API_KEY",
        default: "unset",
        description: "Requests need `Authorization: Bearer` with this key; `/ping` does not. Not visible to user code.",
    },
    Variable {
        name: "FARCALL_DATA_DIR",
        default: "`$XDG_DATA_HOME/farcall` or `~/.local/share/farcall`",
        description: "What must not be thrown away: the local endpoint's queue, in `queue`.",
    },
    Variable {
        name: "FARCALL_ENDPOINT_ID",
        default: "unset",
        description: "The id under which the local endpoint is called (`/v2/ID/run`); unset, it answers to any.",
    },
    Variable {
        name: "FARCALL_IDLE_EXIT_S",
        default: "`0`",
        description: "Local mode: end after so many seconds without a request or a job; `0`: never. The SDK's workers end so.",
    },
    Variable {
        name: "FARCALL_QUEUE_SYNC",
        default: "`process`",
        description: "When a job counts as accepted: `process`, when the system has it (survives `kill -9`; a power cut may cost the last second); `machine`, when the disk has it.",
    },
    Variable {
        name: "FARCALL_RESULT_RETENTION_S",
        default: "`1800`",
        description: "Seconds that a job from `run` is kept after its end.",
    },
    Variable { name: "FARCALL_SYNC_RETENTION_S", default: "`60`", description: "The same for `runsync`." },
    Variable {
        name: "FARCALL_JOB_TTL_S",
        default: "`86400`",
        description: "Seconds a job may live, waiting and running, if its `policy.ttl` does not say.",
    },
    Variable {
        name: "FARCALL_MAX_ATTEMPTS",
        default: "`3`",
        description: "How often a job is begun whose worker dies under it; `1` fails it instead of running it again.",
    },
    Variable {
        name: "FARCALL_MAX_QUEUED_JOBS",
        default: "`1000000`",
        description: "Jobs that may wait at the local endpoint; more are answered with 429.",
    },
    Variable {
        name: "FARCALL_QUEUE_GB",
        default: "`10`",
        description: "Requests and results the local endpoint keeps, in GiB. Near it the oldest results go early; over it, jobs are answered with 429.",
    },
    Variable {
        name: "FARCALL_RUN_BODY_MB",
        default: "`10`",
        description: "Largest body of `run`, in MiB; a larger one is answered with 413.",
    },
    Variable { name: "FARCALL_RUNSYNC_BODY_MB", default: "`20`", description: "The same for `runsync`." },
    Variable {
        name: "FARCALL_WEBHOOK_SECRET",
        default: "unset",
        description: "Signs what webhooks are sent, with HMAC-SHA256. Not visible to user code.",
    },
    Variable {
        name: "FARCALL_ALLOWED_HOSTS",
        default: "unset",
        description: "More host names, separated by commas, that the local endpoint answers to on loopback: those of a proxy before it.",
    },
    Variable {
        name: "FARCALL_ENDPOINT",
        default: "`http://127.0.0.1:PORT`",
        description: "The endpoint that `farcall run`, `jobs`, `logs` and `cancel` call without `--endpoint`: a URL, or the id of one on RunPod. One with a URL gets `FARCALL_API_KEY`.",
    },
    Variable {
        name: "RUNPOD_API_KEY",
        default: "unset",
        description: "The key for endpoints that are named by an id. `RUNPOD_ENDPOINT_BASE_URL` says where they are, if not at RunPod.",
    },
    Variable {
        name: "FARCALL_CONCURRENCY",
        default: "`RUNPOD_MAX_CONCURRENCY`, then `1`",
        description: "Calls at a time. Above 1, asynchronous functions share one runner; synchronous ones have a runner each.",
    },
    Variable {
        name: "FARCALL_TIMEOUT_S",
        default: "`0`",
        description: "Seconds a call may run if its request does not say; `0` means no limit.",
    },
    Variable {
        name: "FARCALL_CANCEL_GRACE_S",
        default: "`3`",
        description: "Seconds a call that timed out or was cancelled has to end by itself, after it was interrupted (`KeyboardInterrupt`, as by Ctrl-C); then its process group is killed.",
    },
    Variable {
        name: "FARCALL_CANCEL_ON_DISCONNECT",
        default: "`1`",
        description: "`0` lets a call run on when its HTTP client goes away.",
    },
    Variable {
        name: "FARCALL_GRACE_S",
        default: "`30`",
        description: "Seconds that running calls have to end after SIGTERM; then they are cancelled, and answered.",
    },
    Variable {
        name: "FARCALL_MAX_BODY_MB",
        default: "`64`",
        description: "Largest HTTP request body, in MiB; a larger one is answered with 413.",
    },
    Variable {
        name: "FARCALL_RUNNER_MEMORY_MB",
        default: "`0`",
        description: "Memory of one runner, in MiB; `0` means no limit. By a cgroup where one can be made, else by address space (`RLIMIT_AS`), which CUDA does not work under.",
    },
    Variable {
        name: "FARCALL_GPUS_PER_RUNNER",
        default: "`auto`",
        description: "GPUs a runner of synchronous calls sees, by `CUDA_VISIBLE_DEVICES`: a number, those that the fewest other runners hold; or `all`. `auto`: one, where several calls run at a time and the worker has several GPUs, else all.",
    },
    Variable {
        name: "CUDA_VISIBLE_DEVICES",
        default: "all GPUs there are",
        description: "The worker's own GPUs, which it deals out.",
    },
    Variable {
        name: "FARCALL_EXPECT_GPU",
        default: "`0`, in the GPU image `1`",
        description: "The worker is made for a GPU: without one it says so at its start, and a queue worker takes no jobs.",
    },
    Variable {
        name: "CUDA_VERSION",
        default: "unset",
        description: "Set by images that have CUDA: a driver that only knows an older major version is reported the same way.",
    },
    Variable {
        name: "FARCALL_RUNNER_OPEN_FILES",
        default: "`0`",
        description: "Files a runner may have open at a time; `0` leaves the system's limit.",
    },
    Variable {
        name: "RUNPOD_ENDPOINT_ID",
        default: "unset",
        description: "Set by the platform. The log is written as JSON lines then.",
    },
    Variable {
        name: "RUNPOD_WEBHOOK_GET_JOB",
        default: "unset",
        description: "Set by the platform: where jobs are taken. Makes `farcall serve` a queue worker, which also reads `RUNPOD_WEBHOOK_POST_OUTPUT`, `RUNPOD_WEBHOOK_POST_STREAM`, `RUNPOD_WEBHOOK_PING`, `RUNPOD_PING_INTERVAL` (ms), `RUNPOD_POD_ID` and `RUNPOD_AI_API_KEY`.",
    },
    Variable {
        name: "FARCALL_MAX_PAYLOAD_MB",
        default: "`20`",
        description: "Largest answer the platform takes, in MiB; a larger one becomes an error that names the sizes.",
    },
    Variable {
        name: "FARCALL_SPOOL_DIR",
        default: "`spool` in `FARCALL_CACHE_DIR`",
        description: "Where answers wait that could not be delivered, until they are or the worker starts again.",
    },
    Variable {
        name: "RUNPOD_MIN_MEMORY_GB",
        default: "`4`",
        description: "Memory that must be available before a queue worker takes jobs, in GiB.",
    },
    Variable {
        name: "RUNPOD_MIN_DISK_PERCENT",
        default: "`10`",
        description: "Part of the disk that must be free, in per cent.",
    },
    Variable {
        name: "RUNPOD_MIN_CUDA_VERSION",
        default: "`11.8`",
        description: "The version of CUDA that the driver must know, if there is a GPU.",
    },
    Variable {
        name: "RUNPOD_SKIP_FITNESS_CHECKS",
        default: "`0`",
        description: "`1` checks nothing. `RUNPOD_SKIP_AUTO_SYSTEM_CHECKS` leaves out memory and disk, `RUNPOD_SKIP_GPU_CHECK` the GPU.",
    },
    Variable {
        name: "FARCALL_LOG_LEVEL",
        default: "`info` for `serve`, else `warn`",
        description: "The worker's own log: `error`, `warn`, `info`, `debug` or `trace`.",
    },
    Variable {
        name: "FARCALL_MAX_OUTPUT_KB",
        default: "`8192`",
        description: "Output kept of one call, in KiB: its beginning and its end; what is left out between is counted.",
    },
    Variable {
        name: "FARCALL_MAX_RESULT_MB",
        default: "`512`",
        description: "Largest encoded result of one call, in MiB; a larger one fails the call.",
    },
    Variable {
        name: "FARCALL_MAX_INSTANCES",
        default: "`64`",
        description: "Class instances a runner keeps between calls; beyond it the least recently used one is dropped.",
    },
    Variable {
        name: "FARCALL_FRESH_NAMESPACE",
        default: "`0`",
        description: "`1` executes a request's source for every call. By default that is done once, so that what is at module level, such as a model, is loaded once.",
    },
    Variable {
        name: "FARCALL_START_TIMEOUT_S",
        default: "`60`",
        description: "Seconds a runner may take from its start until it is ready.",
    },
    Variable { name: "NO_COLOR", default: "unset", description: "Anything turns colours off." },
];

/// The reference page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\nThe worker is configured by environment variables. A value that cannot be used stops \
         it at once, with exit code 64 and a message that names the variable.\n\n\
         | variable | default | what it does |\n|---|---|---|\n",
    );
    for Variable { name, default, description } in VARIABLES {
        page.push_str(&format!("| `{name}` | {default} | {description} |\n"));
    }
    page
}
