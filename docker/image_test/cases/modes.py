"""One image in every mode: the queue, the load balancer, the local endpoint, requests from files."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from ..case import Setting, case, expect, result
from ..container import Container, function, on_load_balancer, trusting, until
from ..images import REPOSITORY

_NETWORK = "farcall-test"
_PLATFORM = "farcall-test-platform"


@case("the examples run by test-handler")
def examples(setting: Setting) -> str:
    done = setting.engine.attempt(
        "run", "--rm", *trusting(), "--volume", f"{REPOSITORY / 'examples'}:/examples:ro",
        setting.images.worker, "test-handler", "/examples",
    )  # fmt: skip
    expect(done.returncode == 0, done.stdout + done.stderr)
    return done.stdout.splitlines()[-1]


@case("it serves RunPod's load balancer on port 80")
def load_balancer(setting: Setting) -> None:
    with Container(setting.engine, setting.images.worker, on_load_balancer()) as worker:
        worker.await_ready()
        answer = worker.call(function("area", "def area(w, h):\n    return w * h\n", args=[6, 7]))
        expect(result(answer) == 42, answer)


@case("it is an endpoint of its own, for those who have the key")
def local(setting: Setting) -> None:
    key = {"Authorization": "Bearer test"}
    request = {"input": function("f", "def f():\n    return 'here'\n")}
    options = ("--env", "FARCALL_API_KEY=test")
    with Container(setting.engine, setting.images.worker, options) as endpoint:
        endpoint.await_ready(8000)
        status, answer = endpoint.ask("POST", "/v2/mine/runsync", request, headers=key)
        expect(status == 200 and answer["output"]["json_result"] == "here", answer)
        status, answer = endpoint.ask("POST", "/v2/mine/runsync", request)
        expect(status == 401, answer)


@case("without a key it does not open itself to the network")
def no_key(setting: Setting) -> None:
    done = setting.engine.attempt("run", "--rm", setting.images.worker)
    expect(done.returncode == 64 and "hint: set FARCALL_API_KEY" in done.stderr, done.stderr)


@case("it serves RunPod's queue")
def queue(setting: Setting) -> str:
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--package", "e2e", "--bin", "fake-platform"],
        cwd=REPOSITORY,
        check=True,
    )
    engine = setting.engine
    engine.attempt("network", "create", _NETWORK)
    code = "def double(x):\n    return 2 * x\n"
    with tempfile.TemporaryDirectory() as directory:
        options = (
            *("--network", _NETWORK, "--name", _PLATFORM, "--volume", f"{directory}:/out"),
            *("--volume", f"{REPOSITORY / 'target/release/fake-platform'}:/fake-platform:ro"),
            *("--entrypoint", "/fake-platform"),
        )
        job = json.dumps(function("double", code, args=[21]))
        arguments = (
            *("--host", "0.0.0.0", "--port", "9000", "--worker", "in-a-container"),  # noqa: S104
            *("--preload", "20", "--input", job, "--requests", "/out/requests"),
        )
        with Container(engine, setting.images.base, options, arguments) as platform:
            until(lambda: "# listening" in platform.log(), "the platform")
            variables = [
                line.removeprefix("export ").replace("'", "").replace("0.0.0.0", _PLATFORM)  # noqa: S104
                for line in platform.log().splitlines()
                if line.startswith("export ")
            ]
            variables += ["RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true"]
            into = ("--network", _NETWORK, *(o for v in variables for o in ("--env", v)))
            with Container(engine, setting.images.worker, into) as worker:
                until(lambda: not platform.inspect("State.Running"), "twenty answers", 60)
                expect(platform.inspect("State.ExitCode") == 0, platform.log())
                expect(worker.stop() == 0, worker.log())
            report = next(line for line in platform.log().splitlines() if line.startswith("{"))
        requests = [json.loads(line) for line in (Path(directory) / "requests").read_text().splitlines()]
    engine.run("network", "rm", _NETWORK)
    answers = [json.loads(r["body"])["output"] for r in requests if "job-done" in r["uri"]]
    expect(len(answers) == 20 and all(result(answer) == 42 for answer in answers), answers)
    return f"{json.loads(report)['jobs_per_s']:.0f} jobs/s"


@case("its health check turns healthy, in queue mode too, and says why it is not")
def health(setting: Setting) -> None:
    options = ("--health-interval=1s", "--health-start-period=1s", *on_load_balancer())
    with Container(setting.engine, setting.images.worker, options) as worker:
        until(lambda: bool(worker.inspect("State.Health.Status") == "healthy"), "healthy", 30)
        expect("is ready" in worker.run("farcall", "doctor", "--ready"), "no sentence")
    # A platform that cannot be reached makes a worker wait, not sick.
    variables = (
        "RUNPOD_WEBHOOK_GET_JOB=http://127.0.0.1:9/take",
        "RUNPOD_WEBHOOK_POST_OUTPUT=http://127.0.0.1:9/done",
    )
    options = ("--health-interval=1s", *(o for v in variables for o in ("--env", v)))
    with Container(
        setting.engine, setting.images.worker, (*options, "--env", "RUNPOD_SKIP_FITNESS_CHECKS=1")
    ) as worker:
        until(lambda: bool(worker.inspect("State.Health.Status") == "healthy"), "healthy", 30)
    options = (*on_load_balancer(), "--env", "FARCALL_PYTHON=python3", "--entrypoint", "sleep")
    with Container(setting.engine, setting.images.worker, options, ("60",)) as idle:
        done = setting.engine.attempt("exec", idle.id, "farcall", "doctor", "--ready")
        expect(done.returncode == 1 and done.stdout.startswith("no worker is running here"), done.stdout)
