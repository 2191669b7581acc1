"""Prints where this interpreter finds packages, and what decides which ones fit it, as one line of JSON.

Run as `python -c` like the runners are, so that `PYTHONPATH`, the user's site, `.pth` files and
`sitecustomize` count as they do there. Of the standard library, it imports as little as it can.
"""

import json
import os
import site
import sys
import sysconfig

# Sets our line apart from what code of the image prints as the interpreter starts.
MARK = "farcall-site:"

# Files whose code is known to leave `sys.path` alone, or to add to it the same each time.
KNOWN_CODE = ("distutils-precedence.pth", "_virtualenv.pth", "-nspkg.pth")
KNOWN_MODULES = {"_distutils_hack", "_virtualenv"}


def is_text(path):
    """Whether the path is UTF-8, as JSON has to be."""
    return path.isprintable() or not any("\udc80" <= character <= "\udcff" for character in path)


def full_version(info):
    """`3.13.0rc1`, in the form of PEP 508."""
    level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
    return f"{info.major}.{info.minor}.{info.micro}" + (f"{level}{info.serial}" if level else "")


def environment():
    """The values of the environment markers of PEP 508."""
    system = os.uname()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": full_version(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": system.machine,
        "platform_python_implementation": "CPython",
        "platform_release": system.release,
        "platform_system": system.sysname,
        "platform_version": system.version,
        "python_full_version": full_version(sys.version_info),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "sys_platform": sys.platform,
    }


def glibc():
    """The version of the C library, if it is GNU's: what wheels for `manylinux` ask for."""
    try:
        _name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        return [int(number) for number in version.split(".")[:2]]
    except (AttributeError, ValueError, OSError):
        return None


def purelib():
    """Where a virtual environment of this interpreter has its packages, relative to its prefix."""
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    return os.path.relpath(sysconfig.get_path("purelib", scheme), os.path.normpath(sys.prefix))


def startup_files(directory):
    """The `.pth` files of a directory, each with its lines."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if name.endswith((".pth", ".start")):
            path = os.path.join(directory, name)
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield path, file.read().splitlines()
            except OSError:
                yield path, []


def inputs():
    """What the order of directories was made from, and whether all of it is known."""
    places = [*site.getsitepackages(), site.getusersitepackages()]
    paths, is_known = [*sys.path, *places], True
    for place in places:
        for path, lines in startup_files(place):
            paths.append(path)
            # Code may look at anything. From Python 3.15 on, `.start` files are code as well.
            code = [line for line in lines if line.startswith(("import ", "import\t"))]
            has_code = bool(code) or path.endswith(".start")
            is_known = is_known and (not has_code or path.endswith(KNOWN_CODE))
            named = (line.strip() for line in lines if line not in code and not line.startswith("#"))
            paths.extend(os.path.join(place, line) for line in named if line)
    return paths, is_known and not foreign_modules(paths)


def foreign_modules(paths):
    """Modules loaded while the interpreter started that are neither its own nor known."""
    standard = [os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")]
    foreign = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        if name == "sitecustomize":
            paths.append(file)
        is_standard = file.startswith(tuple(standard)) and "-packages" not in file
        if not is_standard and name.partition(".")[0] not in KNOWN_MODULES:
            foreign.add(name)
    return foreign


def answer():
    """All of it."""
    paths, is_lasting = inputs()
    directories = [os.path.abspath(path) for path in sys.path if path.rstrip("/").endswith("-packages")]
    return {
        "site": {
            "prefix": sys.prefix,
            "base_executable": os.path.realpath(sys._base_executable),
            "purelib": purelib(),
            "directories": [path for path in dict.fromkeys(directories) if is_text(path)],
            "markers": {"environment": environment(), "glibc": glibc()},
        },
        "inputs": sorted({os.path.abspath(path) for path in paths if path and is_text(path)}),
        "is_lasting": is_lasting,
    }


print(f"\n{MARK}{json.dumps(answer())}")
