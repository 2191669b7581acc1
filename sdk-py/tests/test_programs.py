"""Whole programs, each in a process of its own: files, standard input, notebooks."""

from __future__ import annotations

from typing import Any


def test_data_is_written_where_no_statement_is_kept(program: Any) -> None:
    text = """\
from __future__ import annotations
from farcall import remote
for LAST in range(3):
    items = {"last": [LAST] * 2, "kind": type}
A, B = 1, object
@remote
def f(): return LAST, items["last"], A, B is object, injected, second
globals().update(injected="x", second=[1])
print(f.remote())
"""
    assert program(text) == (0, "(2, [2, 2], 1, True, 'x', [1])\n", "")


def test_programs_of_one_file_run(program: Any) -> None:
    text = """\
from dataclasses import dataclass
from farcall import remote

RATE = 2

@dataclass
class Order:
    price: int

class Refused(Exception): pass

@remote
def total(orders):
    if not orders:
        raise Refused("nothing to sum up")
    print("orders:", len(orders))
    return Order(sum(order.price for order in orders) * RATE)

if __name__ == "__main__":
    print(total.remote([Order(1), Order(2)]) == Order(6))
    try:
        total.remote([])
    except Refused as error:
        print("refused:", error)
"""
    assert program(text) == (0, "orders: 2\nTrue\nrefused: nothing to sum up\n", "")


def test_what_is_under_a_main_guard_goes_along(program: Any) -> None:
    text = """\
from farcall import remote

@remote
def scaled(x):
    return x * options["factor"](2)

if __name__ == "__main__":
    options = {"factor": lambda x: x * 10}

    @remote
    def inside(x):
        return scaled.local(x) if hasattr(scaled, "local") else scaled(x)

    print(scaled.remote(1), inside.remote(2))
"""
    assert program(text) == (0, "20 40\n", "")


def test_programs_from_standard_input_run(program: Any) -> None:
    text = """\
from farcall import remote
base = 40
def add(x): return base + x
@remote
def f(x): return add(x)
print(f.remote(2))
"""
    code, output, errors = program("", stdin=text)
    assert (code, output) == (0, "42\n"), errors


def test_cells_of_a_notebook_show_their_lines(program: Any) -> None:
    text = """\
import linecache, traceback
def cell(number, source):
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), globals())
cell(1, "from farcall import remote\\nK = 2\\ndef helper(x):\\n    return K / x\\n")
cell(2, "@remote\\ndef f(x):\\n    return helper(x)\\n")
print(f.remote(4))
cell(3, "K = 8\\n")
print(f.remote(4))
try:
    f.remote(0)
except ZeroDivisionError as error:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    print(frame.filename, frame.lineno, frame.line)
"""
    code, output, errors = program(text)
    assert (code, output) == (0, "0.5\n2.0\n<ipython-input-1> 4 return K / x\n"), errors
