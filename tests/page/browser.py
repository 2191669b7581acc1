"""A headless chromium, driven by the DevTools protocol over two pipes, with the standard library only."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)

# No wait of a test takes longer, however loaded the machine is.
PATIENCE_S = 20


def find() -> str | None:
    """Find a browser."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one tab."""

    def __init__(self, program: str) -> None:
        """Start it, with a profile of its own."""
        self.profile = tempfile.mkdtemp()
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def connect() -> None:
            # The protocol's ends are descriptors 3 and 4. Copies first: either may be in the other's place.
            copies = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        self.process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=connect,  # noqa: PLW1509  # one thread
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.answers = os.fdopen(ours_in, "rb", buffering=0)
        self.questions = os.fdopen(ours_out, "wb", buffering=0)
        self.received = b""
        self.last_id = 0
        self.session: str | None = None
        self.errors: list[str] = []
        target = next(it for it in self.call("Target.getTargets")["targetInfos"] if it["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.questions.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.last_id:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _receive(self) -> Any:
        while b"\0" not in self.received:
            piece = self.answers.read(65536)
            assert piece, "the browser is gone"
            self.received += piece
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: Any) -> None:
        """Keep what a person would see in the console."""
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Open a page."""
        self.call("Page.navigate", url=url)
        # The document before it is there until the new one comes.
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Wait until JavaScript is true, and return what it is. What it reads need not be there yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if value := self.evaluate(expression):
                    return value
                reason = ""
            except AssertionError as error:
                reason = str(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {expression}\n{self.text('body')}\n{self.errors}\n{reason}")
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """Return the text that a person sees."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Click on the middle of an element: it has to be in sight, and nothing before it."""
        name = json.dumps(selector)
        self.wait(f"document.querySelector({name})?.checkVisibility()")
        place = self.evaluate(
            f"(() => {{ const it = document.querySelector({name}); it.scrollIntoView({{block: 'nearest'}});"
            " const at = it.getBoundingClientRect(); const x = at.x + at.width / 2, y = at.y + at.height / 2;"
            " const hit = document.elementFromPoint(x, y); return [x, y, it.contains(hit)]; })()"
        )
        assert place[2], f"something is before {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )

    def type(self, selector: str, text: str) -> None:
        """Replace what is in a field."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, *, dark: bool) -> None:
        """Be a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
