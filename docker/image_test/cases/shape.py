"""What the image is: its size, its settings, and that the same input makes the same layers."""

from __future__ import annotations

import json
from typing import Any

from ..case import Setting, case, expect
from ..engine import Failed
from ..images import REPOSITORY, build, certificates

# Bytes over the Python base, uncompressed.
_LARGEST = 60_000_000


def _inspect(setting: Setting, image: str) -> Any:
    return json.loads(setting.engine.run("image", "inspect", image))[0]


@case("the image is at most 60 MB larger than its base")
def size(setting: Setting) -> str:
    worker, base = (_inspect(setting, name)["Size"] for name in (setting.images.worker, setting.images.base))
    expect(worker - base <= _LARGEST, f"{(worker - base) / 1e6:.1f} MB")
    return f"{(worker - base) / 1e6:.1f} MB"


@case("it is started and stopped as a process of its own, and says what it is")
def settings(setting: Setting) -> None:
    config = _inspect(setting, setting.images.worker)["Config"]
    expect(config["Entrypoint"] == ["farcall"] and config["Cmd"] == ["serve"], config)
    expect(config["StopSignal"] == "SIGTERM", config["StopSignal"])
    expect(config["Healthcheck"]["Test"] == ["CMD", "farcall", "doctor", "--ready"], config["Healthcheck"])
    expect("HF_HOME=/hf-cache" in config["Env"], config["Env"])
    labels = config["Labels"]
    expect(labels["farcall.python"] == setting.images.python, labels)
    version = next(
        line.split('"')[1]
        for line in (REPOSITORY / "Cargo.toml").read_text().splitlines()
        if line.startswith("version = ")
    )
    expect(labels["org.opencontainers.image.version"] == version, labels)


@case("certificates of the machine it was built on are in no layer")
def no_secrets(setting: Setting) -> str | None:
    own = certificates()
    if own is None:
        return "this machine has none of its own"
    found = setting.engine.run(
        "run", "--rm", "--entrypoint", "sh", setting.images.worker, "-c",
        "ls /run/secrets 2>/dev/null; cat /etc/ssl/certs/ca-certificates.crt",
    )  # fmt: skip
    # What the base brings is Debian's; the last one of a bundle that was extended is the addition.
    last = own.read_text().strip().split("-----BEGIN CERTIFICATE-----")[-1].strip()
    added = "certificates" in found.splitlines()[:1] or last in found
    base = setting.engine.run(
        "run", "--rm", "--entrypoint", "cat", setting.images.base, "/etc/ssl/certs/ca-certificates.crt"
    )
    expect(not added or last in base, "the image has what the build was lent")
    return None


@case("the same input makes the same layers")
def reproducible(setting: Setting) -> None:
    again = build(
        setting.engine, "farcall-test-again", setting.images.base, setting.images.python, "--no-cache"
    )
    first, second = (_inspect(setting, name)["RootFS"]["Layers"] for name in (setting.images.worker, again))
    setting.engine.run("image", "rm", again)
    expect(first == second, f"{first} and {second}")


@case("a base with another Python than its tag would say is refused")
def wrong_python(setting: Setting) -> None:
    try:
        build(setting.engine, "farcall-test-wrong", setting.images.base, "3.9")
    except Failed as failure:
        expect(f"the base has Python {setting.images.python}, not 3.9" in str(failure), failure)
    else:
        expect(False, "it was built")


@case("doctor finds everything the worker needs")
def doctor(setting: Setting) -> None:
    text = setting.engine.run("run", "--rm", setting.images.worker, "doctor", "--json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(text)["checks"]}
    for name in ("interpreter", "runner", "cloudpickle", "uv", "apt", "cache"):
        expect(verdicts[name] == "ok", text)
