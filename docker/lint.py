"""Checks that what platforms read can be read: RunPod's hub files, workflows, YAML in documents."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

_REPOSITORY = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What every object of Kubernetes has.
_OBJECT = ("apiVersion", "kind", "metadata", "spec")


def main() -> int:
    """Names what cannot be read. Returns the exit code."""
    problems = [*_hub(), *_workflows(), *_documents()]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _hub() -> list[str]:
    hub = json.loads((_REPOSITORY / ".runpod/hub.json").read_text())
    tests = json.loads((_REPOSITORY / ".runpod/tests.json").read_text())
    problems = [
        f".runpod/hub.json: no `{field}`"
        for field in ("title", "description", "type", "config")
        if not hub.get(field)
    ]
    problems += [
        f".runpod/tests.json: `{t.get('name')}` has no input" for t in tests["tests"] if "input" not in t
    ]
    known = _variables()
    for setting in hub.get("config", {}).get("env", []):
        if setting["key"] not in known:
            problems.append(f".runpod/hub.json: the worker has no variable `{setting['key']}`")
    return problems


def _workflows() -> list[str]:
    problems = []
    for path in sorted((_REPOSITORY / ".github/workflows").glob("*.yml")):
        workflow, problem = _read(path.name, path.read_text())
        jobs = (workflow[0] or {}).get("jobs", {}) if workflow else {}
        if problem or not jobs:
            problems.append(problem or f"{path.name}: no jobs")
        for name, job in jobs.items():
            unknown = set(_list(job.get("needs"))) - set(jobs)
            problems += [f"{path.name}: `{name}` needs `{job}`, which is no job" for job in sorted(unknown)]
    return problems


def _documents() -> list[str]:
    problems = []
    known = _variables()
    for path in sorted((_REPOSITORY / "docs").rglob("*.md")):
        for block in _BLOCK.findall(path.read_text()):
            objects, problem = _read(path.name, block)
            if problem:
                problems.append(problem)
            for found in objects:
                missing = [field for field in _OBJECT if field not in found] if "kind" in found else []
                problems += [f"{path.name}: {found['kind']} has no `{field}`" for field in missing]
        names = set(re.findall(r"\bFARCALL_[A-Z_]+\b", "\n".join(_BLOCK.findall(path.read_text()))))
        problems += [f"{path.name}: the worker has no variable `{name}`" for name in sorted(names - known)]
    return problems


def _read(name: str, text: str) -> tuple[list[Any], str | None]:
    try:
        return [found for found in yaml.safe_load_all(text) if found], None
    except yaml.YAMLError as error:
        return [], f"{name}: {error}"


def _variables() -> set[str]:
    reference = (_REPOSITORY / "docs/configuration.md").read_text()
    return set(re.findall(r"`([A-Z][A-Z_]+)`", reference))


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


sys.exit(main())
