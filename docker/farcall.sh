#!/bin/sh
# Starts a worker in an image that was not made for it: any with a glibc of 2.17 or later and a Python of 3.10 or later.
# Everything after the script's name goes to farcall; without anything, it serves.
#
#   FARCALL_URL      where the binary is, if it is not on PATH and not mounted beside this script
#   FARCALL_SHA256   what it has to be, in hexadecimal; unset, it is not checked
#   FARCALL_BIN      where to put it [/tmp/farcall-bin/farcall]
#
# uv and cloudpickle are installed where pip is there and they are not: without uv the worker installs no packages for
# requests, without cloudpickle it sends back plain data only.
set -eu

fail() {
    echo "farcall.sh: $1" >&2
    echo "hint: $2" >&2
    exit 64
}

python=${FARCALL_PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python on PATH" "set FARCALL_PYTHON to the image's interpreter"

download() {
    [ -n "${FARCALL_URL:-}" ] || fail "there is no farcall here" "mount it beside this script, or set FARCALL_URL"
    mkdir -p "$(dirname "$1")"
    # The one program that downloads and is sure to be there.
    "$python" - "$FARCALL_URL" "$1.part" "${FARCALL_SHA256:-}" <<'END' || fail "farcall could not be had" "is FARCALL_URL reachable from here?"
import hashlib, shutil, sys, urllib.request
url, path, expected = sys.argv[1:]
try:
    with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as file:
        shutil.copyfileobj(answer, file)
except OSError as error:
    sys.exit(f"farcall.sh: {url}: {error}")
with open(path, "rb") as file:
    found = hashlib.sha256(file.read()).hexdigest()
if expected and found != expected.lower():
    sys.exit(f"farcall.sh: {url}: its SHA-256 is {found}, not {expected}")
END
    chmod 755 "$1.part"
    mv "$1.part" "$1"
}

beside=$(dirname "$0")/farcall
farcall=${FARCALL_BIN:-/tmp/farcall-bin/farcall}
if [ -x "$beside" ]; then
    farcall=$beside
elif command -v farcall >/dev/null; then
    farcall=$(command -v farcall)
elif [ ! -x "$farcall" ]; then
    download "$farcall"
fi

missing=
command -v uv >/dev/null || missing=uv
"$python" -c 'import cloudpickle' 2>/dev/null || missing="$missing cloudpickle"
if [ -n "$missing" ] && "$python" -m pip --version >/dev/null 2>&1; then
    # The image's own packages, in a container that is thrown away.
    # shellcheck disable=SC2086
    PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$python" -m pip install --quiet $missing ||
        echo "farcall.sh: not installed:$missing" >&2
fi

[ $# -gt 0 ] || set -- serve
exec "$farcall" "$@"
