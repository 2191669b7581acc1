"""Programs written for runpod-flash: those of its own README, as they are but for one import."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import GPU
from fake_runpod import FakeRunPod

ROOT = Path(__file__).parent.parent.parent
README = "lib/python*/site-packages/runpod_flash-1.21.0.dist-info/METADATA"
IMPORT = "from runpod_flash import"
# What each prints: regular expressions, line by line.
OUTPUT = {
    "hello": [rf"Hello from your GPU! \({GPU}\)", "Done!"],
    "gpu_matrix_multiply": [
        r"Running matrix multiplication on Runpod GPU\.\.\.",
        "Matrix size: 1000x1000",
        r"Result mean: 2[45]\d\.\d{4}",
        f"GPU used: {GPU}",
    ],
}


def programs() -> dict[str, str]:
    """What it shows, by the function that is decorated."""
    found = sorted((ROOT / ".venv-flash").glob(README))
    if not found:
        pytest.fail("runpod-flash 1.21 is not installed\nhint: make .venv-flash/.installed")
    blocks = re.findall(r"```python\n(.*?)```", found[0].read_text(), re.DOTALL)
    named = {re.findall(r"^(?:async )?def (\w+)", block, re.MULTILINE)[0]: block for block in blocks}
    assert set(named) == set(OUTPUT), "they are the programs that this test knows"
    return named


@pytest.mark.parametrize("name", OUTPUT)
def test_a_program_of_its_readme_runs_after_one_import_is_changed(
    name: str, program: Any, runpod: FakeRunPod
) -> None:
    text = programs()[name]
    assert text.count(IMPORT) == 1
    ended, printed, errors = program(text.replace(IMPORT, "from farcall import"))
    assert (ended, errors) == (0, "")
    lines = [line for line in printed.splitlines() if not line.startswith("[farcall] install")]
    assert len(lines) == len(OUTPUT[name]), printed
    for line, expected in zip(lines, OUTPUT[name], strict=True):
        assert re.fullmatch(expected, line), printed
    created = [body for method, kind, body in runpod.changes if (method, kind) == ("POST", "endpoints")]
    assert [endpoint["gpuTypeIds"] for endpoint in created] == [[GPU]]
