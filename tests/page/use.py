"""Use the page as a person would: run a function, watch its output arrive, cancel it, look at what failed.

    use.py URL DIRECTORY [KEY]

Writes pictures to the directory. Says `skipped` and why where there is no browser.
"""

import json
import sys
from pathlib import Path

from browser import Browser, find

# Prints, then goes on when there is a file: what is seen before cannot have been seen after.
COUNT = """\
import os, time

def count(steps, go_on):
    for step in range(steps):
        print("step", step, "<b>&amp;</b>", flush=True)
        while step == 1 and not os.path.exists(go_on):
            time.sleep(0.01)
    return {"steps": steps, "markup": "<img src=x onerror=alert(1)>"}
"""
FAIL = "def fail(text):\n    print('about to fail')\n    raise ValueError(text)\n"

# What is shown of the job that is open.
STATUS = "document.querySelector('#status').textContent"
OUTPUT = "document.querySelector('#output').textContent"


def run(page: Browser, code: str, function: str, arguments: str) -> None:
    """Type a function into the form, and run it."""
    page.click("#new")
    page.type("#code", code)
    guessed = page.evaluate("document.querySelector('#function').value")
    assert guessed == function, guessed
    page.type("#arguments", arguments)
    page.click("#submit")
    page.wait("!document.querySelector('#form').open")
    page.wait(f"document.querySelector('#name').innerText === '{function}'")


def begin(page: Browser, url: str, pictures: Path, key: str | None) -> None:
    """Open the page, and give the key where it asks for one."""
    page.look(1280, 800, dark=False)
    page.open(url)
    if key:
        page.wait("document.querySelector('#key-form').open")
        page.type("#key", key)
        page.click("#key-form button")
    page.wait("document.querySelector('#state').textContent === 'ready'")
    page.screenshot(pictures / "empty.png")
    assert "No jobs yet" in page.text("#empty")


def watch(page: Browser, pictures: Path) -> None:
    """Output comes while the function runs, as text."""
    go_on = pictures / "go-on"
    go_on.unlink(missing_ok=True)
    run(page, COUNT, "count", json.dumps([6, str(go_on)]))
    page.wait(f"{OUTPUT}.includes('step 1') && {STATUS} === 'running'")
    assert not page.evaluate(f"{OUTPUT}.includes('step 2')"), "it is there before it is printed"
    page.screenshot(pictures / "running.png")
    go_on.touch()
    page.wait(f"{STATUS} === 'completed'")
    expected = "".join(f"step {step} <b>&amp;</b>\n" for step in range(6))
    assert page.evaluate(OUTPUT) == expected
    assert "<img src=x onerror=alert(1)>" in page.text("#result-text")
    assert page.evaluate("document.querySelectorAll('img, #output b').length") == 0


def cancel(page: Browser) -> None:
    """A running one is cancelled, and what it has printed stays."""
    run(page, COUNT, "count", '[1000, "/nowhere"]')
    page.wait(f"{OUTPUT}.includes('step 0')")
    page.click("#cancel")
    page.wait(f"{STATUS} === 'cancelled'")
    assert "step 0" in page.evaluate(OUTPUT)


def look_at_failure(page: Browser, pictures: Path) -> None:
    """A traceback is readable, and the job can be run again."""
    run(page, FAIL, "fail", '["no <luck>"]')
    page.wait(f"{STATUS} === 'failed'")
    assert "ValueError: no <luck>" in page.text("#error-text") and "in fail" in page.text("#error-text")
    page.click("#retry")
    page.wait("document.querySelector('#rows .note').textContent.includes('run again 1')")
    page.click("#request summary")
    page.wait("document.querySelector('#request-text').innerText.includes('raise ValueError')")
    page.screenshot(pictures / "failed.png")


def mistype(page: Browser, pictures: Path) -> None:
    """What is wrong in the form is said there."""
    page.click("#new")
    page.type("#arguments", "[1,")
    page.click("#submit")
    page.wait("document.querySelector('#form-error').innerText.includes('not JSON')")
    page.screenshot(pictures / "form.png")
    page.click("#form-cancel")


def find_jobs(page: Browser) -> None:
    """The list is filtered by status and by what is searched for."""
    page.click("#counts [data-status=FAILED]")
    page.wait("document.querySelectorAll('#rows li').length === 1")
    page.click("#counts [data-status='']")
    page.type("#search", "cou")
    page.wait("document.querySelectorAll('#rows li').length === 2")
    page.type("#search", "x")
    page.evaluate("document.querySelector('#search').value = ''; refresh()")
    page.wait("document.querySelectorAll('#rows li').length === 3")


def look_around(page: Browser, url: str, pictures: Path) -> None:
    """It fits a phone, and has its other views."""
    for name, width, height, dark in [("dark", 1280, 800, True), ("phone", 390, 844, False)]:
        page.look(width, height, dark=dark)
        page.screenshot(pictures / f"{name}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than a phone"
    page.click("#back")
    page.wait("document.querySelector('#rows').checkVisibility()")
    page.screenshot(pictures / "phone-list.png")
    page.click("#show-worker")
    page.wait("document.querySelectorAll('#processes tr').length > 0")
    page.look(1280, 800, dark=True)
    page.screenshot(pictures / "worker.png")
    page.open(f"{url}docs")
    page.wait("document.querySelectorAll('#docs section').length > 10")
    page.screenshot(pictures / "docs.png")


def use(page: Browser, url: str, pictures: Path, key: str | None) -> None:
    """Do everything that the page is for."""
    begin(page, url, pictures, key)
    watch(page, pictures)
    cancel(page)
    look_at_failure(page, pictures)
    mistype(page, pictures)
    find_jobs(page)
    look_around(page, url, pictures)
    # A key that was asked for is an answer of 401, which the console shows.
    unexpected = [error for error in page.errors if not (key and "401" in error)]
    assert not unexpected, unexpected


def main() -> None:
    """Find a browser, and use it."""
    program = find()
    if program is None:
        print("skipped: no chromium here; `apt-get install chromium` brings one")
        return
    page = Browser(program)
    try:
        use(page, sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
    finally:
        page.close()
    print("OK")


if __name__ == "__main__":
    main()
