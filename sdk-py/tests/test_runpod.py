"""Endpoints on RunPod, against a control plane of our own: what is made and changed, and that calls run."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from fake_runpod import FakeRunPod
from farcall import (
    CpuInstanceType,
    CpuLiveServerless,
    DataCenter,
    Endpoint,
    GpuGroup,
    GpuType,
    LiveServerless,
    NetworkVolume,
    ResourceError,
    remote,
)


def add(a: int, b: int) -> int:
    print("adding")
    return a + b


def numbers(to: int) -> Any:
    yield from range(to)


def fail() -> None:
    raise KeyError("there")


def described(**changes: Any) -> LiveServerless:
    options: dict[str, Any] = {
        "gpus": [GpuGroup.ADA_24],
        "workersMax": 5,
        "idleTimeout": 5,
        "env": {"A": "1"},
    }
    return LiveServerless("my-endpoint", **{**options, **changes})


def test_the_first_call_makes_it_and_the_next_ones_change_nothing(runpod: FakeRunPod) -> None:
    assert described().plan().action == "create"
    assert runpod.changes == []
    assert remote(described())(add).remote(1, 2) == 3
    assert [(method, kind) for method, kind, _ in runpod.changes] == [
        ("POST", "templates"),
        ("POST", "endpoints"),
    ]
    endpoint = runpod.changes[1][2]
    assert endpoint["gpuTypeIds"] == ["NVIDIA GeForce RTX 4090"]
    assert (endpoint["workersMin"], endpoint["workersMax"], endpoint["idleTimeout"]) == (0, 5, 5)
    template = runpod.changes[0][2]
    assert template["isServerless"]
    assert template["env"]["A"] == "1"
    python = f"py{sys.version_info[0]}.{sys.version_info[1]}"
    assert template["imageName"] == f"farcall/worker:{python}-gpu"

    assert described().plan().action == "keep"
    assert described().deploy() == described().deploy()
    assert len(runpod.changes) == 2


def test_a_changed_description_changes_the_endpoint(runpod: FakeRunPod) -> None:
    first = described().deploy()
    changed = described(workersMax=9, env={"A": "secret", "B": "2"})
    plan = changed.plan()
    assert (plan.action, plan.id) == ("update", first)
    assert plan.changes == {"workersMax": (5, 9), "env": (["A"], ["A", "B"])}
    assert "secret" not in str(plan)
    assert str(plan).splitlines()[0] == f"update endpoint `my-endpoint` ({first})"
    assert changed.deploy() == first
    assert runpod.things["endpoints"][first]["workersMax"] == 9
    assert changed.plan().action == "keep"
    changed.delete()
    assert runpod.things["endpoints"] == {}


def test_an_attempt_that_broke_off_is_gone_on_with(runpod: FakeRunPod) -> None:
    described().deploy()
    runpod.things["endpoints"].clear()
    described().deploy()
    assert len(runpod.things["templates"]) == 1


def test_two_of_a_name_are_left_to_the_user(runpod: FakeRunPod) -> None:
    for number in (1, 2):
        runpod.things["endpoints"][f"e{number}"] = {"id": f"e{number}", "name": "my-endpoint -fb"}
    with pytest.raises(ResourceError, match="2 endpoints `my-endpoint`: e1, e2\nhint:"):
        described().plan()


def test_volumes_are_found_by_name_or_made(runpod: FakeRunPod) -> None:
    for _ in range(2):
        described(networkVolume=NetworkVolume(name="models", size=50, datacenter=DataCenter.EU_CZ_1)).deploy()
    volumes = list(runpod.things["networkvolumes"].values())
    assert [(v["name"], v["size"], v["dataCenterId"]) for v in volumes] == [("models", 50, "EU-CZ-1")]
    assert next(iter(runpod.things["endpoints"].values()))["networkVolumeId"] == volumes[0]["id"]


def test_cpu_endpoints(runpod: FakeRunPod) -> None:
    CpuLiveServerless("cpu", instanceIds=[CpuInstanceType.CPU3G_2_8, "cpu5c-2-4"]).deploy()
    endpoint = next(iter(runpod.things["endpoints"].values()))
    assert (endpoint["computeType"], endpoint["cpuFlavorIds"], endpoint["vcpuCount"]) == (
        "CPU",
        ["cpu3g", "cpu5c"],
        2,
    )
    template = next(iter(runpod.things["templates"].values()))
    assert template["imageName"] == f"farcall/worker:py{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(ResourceError, match="processors"):
        CpuLiveServerless("cpu", instanceIds=[CpuInstanceType.CPU3G_2_8, CpuInstanceType.CPU3G_4_16])


def test_a_program_for_runpod_flash_runs(runpod: FakeRunPod) -> None:
    @Endpoint(name="quickstart", gpu=GpuType.NVIDIA_GEFORCE_RTX_4090, workers=3, idle_timeout=7)
    def multiply(size: int) -> dict[str, int]:
        return {"size": size * size}

    async def main() -> dict[str, int]:
        result: dict[str, int] = await multiply(4)
        return result

    assert asyncio.run(main()) == {"size": 16}
    endpoint = next(iter(runpod.things["endpoints"].values()))
    assert (endpoint["workersMin"], endpoint["workersMax"], endpoint["idleTimeout"]) == (0, 3, 7)


def test_an_endpoint_without_events_is_looked_at(
    runpod: FakeRunPod, capfd: pytest.CaptureFixture[str]
) -> None:
    resource = described()
    runpod.refusals = 2
    assert remote(resource)(add).remote(1, 2) == 3
    assert capfd.readouterr().out == "adding\n"
    assert list(remote(resource)(numbers).stream(3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="there"):
        remote(resource)(fail).remote()
    job = Endpoint(id=resource.deploy()).job(remote(resource)(add).spawn(3, 4).id)
    assert job.result() == 7


def test_mistakes_are_told_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(ResourceError, match="no API key for RunPod\nhint: set RUNPOD_API_KEY"):
        described().plan()
    with pytest.raises(ResourceError, match="contradict each other"):
        described(workersMin=9)
    with pytest.raises(ResourceError, match="not described by disk"):
        Endpoint(name="x", disk=5)
    with pytest.raises(ResourceError, match="gpu or cpu"):
        Endpoint(name="x", gpu=GpuGroup.ANY, cpu="cpu3g-2-8")
    with pytest.raises(ResourceError, match="a url, an id or a name"):
        Endpoint()
    with pytest.raises(ResourceError, match="10 to 4096 GB"):
        NetworkVolume(name="small", size=1)


def test_what_flash_has_and_we_do_not_is_told_with_a_way_out() -> None:
    with pytest.raises(
        AttributeError, match=r"no routes of its own\nhint: decorate with the endpoint itself"
    ):
        Endpoint(name="api", cpu="cpu3c-1-2").post("/sum")  # type: ignore[attr-defined]


def test_a_wrong_key_is_told(runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "another")
    with pytest.raises(ResourceError, match=r"refuses \(401\)"):
        described().plan()
