"""What requests ask for is installed: as root, on a read-only root, and not as anybody else."""

from __future__ import annotations

from ..case import Setting, case, error, expect, result
from ..container import Container, function, on_load_balancer, trusting

_HUMANE = "def f():\n    import humanize\n    return humanize.intcomma(1234567)\n"
_HELLO = (
    "import subprocess\ndef f():\n    return subprocess.run('hello', capture_output=True, text=True).stdout\n"
)


@case("packages from Python's index and from Debian are installed, as root")
def root(setting: Setting) -> None:
    with Container(setting.engine, setting.images.worker, (*on_load_balancer(), *trusting())) as worker:
        worker.await_ready()
        answer = worker.call(function("f", _HUMANE, dependencies=["humanize==4.12.3"]))
        expect(result(answer) == "1,234,567" and "installed 1 package" in answer["stdout"], answer)
        answer = worker.call(function("f", _HELLO, system_dependencies=["hello"]))
        expect(result(answer) == "Hello, world!\n" and "installed hello" in answer["stdout"], answer)
        kept = worker.run("ls", "/root/.cache/apt/archives")
        expect("hello_" in kept, f"apt keeps nothing: {kept}")


@case("a requirement from a git repository brings git, as root")
def git(setting: Setting) -> None:
    code = "def f():\n    import greeting\n    return greeting.TEXT\n"
    make = (
        "set -e; mkdir /repository && cd /repository && "
        'printf \'[project]\\nname = "greeting"\\nversion = "1.0"\\n\' > pyproject.toml && '
        "echo 'TEXT = \"hello\"' > greeting.py"
    )
    with Container(setting.engine, setting.images.worker, (*on_load_balancer(), *trusting())) as worker:
        worker.await_ready()
        worker.run("sh", "-c", make)
        request = function("f", code, dependencies=["greeting @ git+file:///repository"])
        answer = worker.call(request)
        expect("[farcall] installed git" in str(answer["stdout"]), answer)
        # Now that there is git, there can be a repository.
        worker.run(
            "sh", "-c",
            "cd /repository && git init -q && git add . && "
            "git -c user.name=t -c user.email=t@localhost commit -qm t",
        )  # fmt: skip
        expect(result(worker.call(request)) == "hello", answer)


@case("a read-only root works with a volume for the cache")
def read_only(setting: Setting) -> None:
    options = (
        *("--read-only", "--tmpfs", "/tmp", "--volume", "/var/cache/farcall"),  # noqa: S108
        *on_load_balancer(),
        *trusting(),
    )
    with Container(setting.engine, setting.images.worker, options) as worker:
        worker.await_ready()
        answer = worker.call(function("f", _HUMANE, dependencies=["humanize==4.12.3"]))
        expect(result(answer) == "1,234,567", answer)
        expect("is ready" in worker.run("farcall", "doctor", "--ready"), "not ready")


@case("another user than root installs Python packages, and is refused Debian's with a sentence")
def not_root(setting: Setting) -> str:
    options = ("--user", "1000:1000", *on_load_balancer(), *trusting())
    with Container(setting.engine, setting.images.worker, options) as worker:
        worker.await_ready()
        answer = worker.call(function("f", _HUMANE, dependencies=["humanize==4.12.3"]))
        expect(result(answer) == "1,234,567", answer)
        text = error(worker.call(function("f", _HELLO, system_dependencies=["hello"])))
        expect("root" in text and "hello" in text, text)
        return text.splitlines()[0]
