"""What the runner does in Python: compiled when first needed, never on the way of a plain call."""


def describe(error):
    """An exception as JSON: its types, its text, and a pickle of it where it has one.

    `pickle` is by reference: whoever can import its class makes the very same exception of it. Where that
    fails, `parts` is a pickle of its class, its arguments and its attributes.
    """
    import json

    return json.dumps(_description(error, set()))


def _description(error, seen):
    seen.add(id(error))
    kinds = [[kind.__module__, kind.__qualname__] for kind in type(error).__mro__ if kind is not object]
    described = {
        "types": kinds,
        "text": _text_of(error),
        "pickle": _pickled(error),
        "parts": None,
        "notes": [note for note in getattr(error, "__notes__", None) or [] if isinstance(note, str)],
        "frames": _frames(error.__traceback__),
    }
    if described["pickle"] is None:
        described["parts"] = _pickled((type(error), error.args, _pickled_members(error)))
    cause = error.__cause__
    context = None if error.__suppress_context__ else error.__context__
    for name, other in (("cause", cause), ("context", None if cause else context)):
        if other is not None and id(other) not in seen and len(seen) < MOST_DESCRIBED:
            described[name] = _description(other, seen)
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple):
        described["exceptions"] = [
            _description(member, seen)
            for member in members[:MOST_DESCRIBED]
            if isinstance(member, BaseException) and len(seen) < MOST_DESCRIBED
        ]
    return described


def _text_of(error):
    try:
        return str(error)
    except Exception:
        return "(its __str__ failed)"


def _pickled(value):
    """base64 of a pickle that loads; `None` for exceptions whose constructors pass other arguments on."""
    import base64
    import pickle

    try:
        data = pickle.dumps(value, 4)
        pickle.loads(data)
    except Exception:
        return None
    return base64.b64encode(data).decode() if len(data) <= LARGEST_EXCEPTION else None


def _pickled_members(error):
    members = getattr(error, "__dict__", {})
    return {name: value for name, value in members.items() if _pickled(value) is not None}


def _frames(traceback):
    import linecache
    from itertools import islice

    def frames(traceback):
        while traceback is not None:
            code = traceback.tb_frame.f_code
            line = traceback.tb_lineno or code.co_firstlineno
            source = linecache.getline(code.co_filename, line, traceback.tb_frame.f_globals).strip()
            yield [code.co_filename, line, code.co_name, source]
            traceback = traceback.tb_next

    return list(islice(frames(traceback), MOST_FRAMES))


# A chain or a group of exceptions, a recursion: what people read of them.
MOST_DESCRIBED, MOST_FRAMES = 16, 100
# In bytes: more is data that has been put into an exception.
LARGEST_EXCEPTION = 1 << 20


async def settle(value, emit):
    """Awaits what is awaitable; collects what generates, or hands each item to `emit` and returns `emit`.

    In one task: a task per item would break cancel scopes and timeouts that span items.
    """
    import _collections_abc as kinds

    if isinstance(value, kinds.Awaitable):
        value = await value
    if _is_made_by(kinds.async_generator, kinds.AsyncGenerator, value):
        if emit is None:
            return [item async for item in value]
        async for item in value:
            emit(item)
        return emit
    if _is_made_by(kinds.generator, kinds.Generator, value):
        if emit is None:
            return list(value)
        for item in value:
            emit(item)
        return emit
    return value


def _is_made_by(concrete, declared, value):
    return isinstance(value, concrete) or declared in type(value).__mro__


def task_stack(task, title="Task", depth=5):
    """Where a task waits, written as `faulthandler` writes the stacks of threads.

    Follows what is awaited: coroutines, other tasks, and what `asyncio.gather` has gathered.
    """
    frames = []
    awaited = task.get_coro()
    while awaited is not None and len(frames) < 100:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            break
        frame = getattr(awaited, f"{kind}_frame")
        if frame is not None and frame.f_code.co_filename != __file__:
            frames.append(
                f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}'
            )
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    text = "\n".join([f"{title} (most recent call first):", *reversed(frames)]) + "\n"
    future = getattr(task, "_fut_waiter", None)
    others = getattr(future, "_children", None) or [future]
    for other in others[: 10 if depth else 0]:
        if hasattr(other, "get_coro") and not other.done():
            text += task_stack(other, "Task it waits for", depth - 1)
    return text


def load_checked(data):
    """Unpickles `data`, refusing code objects that another Python version compiled.

    Bytecode of another minor version does not fail to load, it crashes the interpreter that runs it. Pickles
    do not say which version made them, so each code object is checked before it exists: it must begin as
    this version's compiler begins code, every instruction must be known here and be followed by as many
    inline cache entries as it has here, and variables in cells must exist.
    """
    import io
    import pickle
    import types

    def code(*args):
        if len(args) != ARGUMENTS or not compiled_here(args[6], cell_range(args)):
            raise ValueError("it holds code compiled by another Python version")
        return types.CodeType(*args)

    def builtin_type(name):
        return code if name == "CodeType" else getattr(types, name)

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if name == "_builtin_type" and module.startswith("cloudpickle"):
                return builtin_type
            if name == "CodeType" and module == "types":
                return code
            return super().find_class(module, name)

    return Unpickler(io.BytesIO(data)).load()


def _code_argument_count():
    import sys

    # types.CodeType gained co_qualname and co_exceptiontable in 3.11.
    return 18 if sys.version_info >= (3, 11) else 16


def cell_range(args):
    """What the operand of an instruction on a cell or free variable may be, for `types.CodeType(*args)`."""
    variables, free, cells = args[9], args[-2], args[-1]
    if ARGUMENTS < 18:
        return range(len(free) + len(cells))
    # From 3.11 on, locals come first; a parameter in a cell has its place among them.
    return range(len(variables) + len(free) + len(cells))


def compiled_here(bytecode, cells):
    """Whether `bytecode` reads as this version's compiler would have written it."""
    import opcode

    if not CACHES:
        CACHES.update(_cache_counts(opcode))
    resume = opcode.opmap.get("RESUME")
    has_begun = resume is None
    position = operand = 0
    while position < len(bytecode):
        instruction = bytecode[position]
        operand = operand << 8 | bytecode[position + 1]
        expected = CACHES.get(instruction)
        if expected is None:
            return False
        has_begun = has_begun or instruction == resume
        if not has_begun and opcode.opname[instruction] not in PROLOGUE:
            return False
        if instruction in opcode.hasfree and operand not in cells:
            return False
        if instruction != opcode.EXTENDED_ARG:
            operand = 0
        position += 2
        entries = bytecode[position : position + 2 * expected : 2]
        if len(entries) != expected or any(entries):
            return False
        position += 2 * expected
    return has_begun


def _cache_counts(opcode):
    """Inline cache entries after each instruction this version's compiler emits."""
    names = {number: name for name, number in opcode.opmap.items() if number < 256}
    counts = getattr(opcode, "_inline_cache_entries", None)
    if counts is None:
        return dict.fromkeys(names, 0)
    if isinstance(counts, dict):
        return {number: counts.get(name, 0) for number, name in names.items() if name != "CACHE"}
    return {number: counts[number] for number, name in names.items() if name != "CACHE"}


# What may stand in front of RESUME, with which all code begins from 3.11 on.
PROLOGUE = {"EXTENDED_ARG", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR", "POP_TOP"}
ARGUMENTS = _code_argument_count()
CACHES = {}


def blame(value, accepts, name="result", depth=6):
    """The path of the first member of `value` that `accepts` raises for, and what it raised.

    Returns `None` when `value` is accepted.
    """
    try:
        accepts(value)
        return None
    except Exception as error:
        reason = error
    if depth:
        for path, member in _members(value, name):
            found = blame(member, accepts, path, depth - 1)
            if found is not None:
                return found
    return name, type(value), reason


def _members(value, name):
    """Up to a thousand members of `value`, each with the expression that reaches it."""
    from itertools import islice

    if isinstance(value, dict):
        pairs = ((f"{name}[{key!r}]", member) for key, member in value.items())
    elif isinstance(value, (list, tuple)):
        pairs = ((f"{name}[{index}]", member) for index, member in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        pairs = ((f"{name} (a member)", member) for member in value)
    else:
        pairs = ((f"{name}.{key}", member) for key, member in getattr(value, "__dict__", {}).items())
    return islice(pairs, 1000)


def enter_environment(prefix, site_packages):
    """Makes the packages of the environment in `prefix` importable, before the interpreter's own.

    As if its own `bin/python` had been started, whose children see it, too: `sys.executable` is what
    `multiprocessing` and most programs start, `PATH` is where console scripts are found, and `PYTHONPATH`
    is for the console scripts of the packages below.
    """
    import os
    import site
    import sys

    base = sys.path[:]
    site.addsitedir(site_packages)
    added = [path for path in sys.path if path not in base]
    below = (at for at, path in enumerate(base) if path.endswith(("/site-packages", "/dist-packages")))
    at = next(below, len(base))
    sys.path[:] = base[:at] + added + base[at:]
    sys.prefix = sys.exec_prefix = prefix
    sys.executable = f"{prefix}/bin/python"
    if "multiprocessing.spawn" in sys.modules:
        sys.modules["multiprocessing.spawn"].set_executable(sys.executable)

    provided = {name.partition(".")[0] for name in os.listdir(site_packages)}
    for name in [name for name in sys.modules if name.partition(".")[0] in provided]:
        del sys.modules[name]  # imported from below, which the environment has another version of

    path = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{prefix}/bin{os.pathsep}{path}"
    if provided.isdisjoint(sys.stdlib_module_names):  # else they would hide Python's own
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = site_packages + (os.pathsep + others if others else "")


def follow_thread(thread, variable, invocation):
    """Makes `thread`, which is about to start, run in its starter's invocation.

    A pool's threads outlive the call that started them, so from the first one on everything submitted to a
    pool carries the invocation of whoever submits it.
    """
    bootstrap_inner = thread._bootstrap_inner

    def bootstrap():
        variable.set(invocation)
        bootstrap_inner()

    thread._bootstrap_inner = bootstrap
    follow_pools(variable)


def attribute(variable, invocation, function):
    """`function`, to be called on a new thread, in an invocation."""
    follow_pools(variable)
    return _Attributed(variable, invocation, function)


def follow_pools(variable):
    import sys

    pools = sys.modules.get("concurrent.futures.thread")
    if pools is None or hasattr(pools.ThreadPoolExecutor.submit, "_farcall"):
        return
    submit = pools.ThreadPoolExecutor.submit

    def submit_in_invocation(self, fn, /, *args, **kwargs):
        invocation = variable.get(None)
        if invocation is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, _Attributed(variable, invocation, fn), *args, **kwargs)

    submit_in_invocation._farcall = True
    submit_in_invocation.__wrapped__ = submit
    pools.ThreadPoolExecutor.submit = submit_in_invocation


class _Attributed:
    """A function that sets the invocation of the thread it is called on."""

    def __init__(self, variable, invocation, function):
        self.variable, self.invocation, self.function = variable, invocation, function

    def __call__(self, *args, **kwargs):
        self.variable.set(self.invocation)
        return self.function(*args, **kwargs)
