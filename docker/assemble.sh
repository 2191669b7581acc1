#!/bin/sh
# Lays out below /rootfs what a worker's image has over its Python base: farcall, uv, cloudpickle, certificates,
# directories that any user may write to. Runs in a stage of its own; the image gets the outcome as one layer, in
# which every file has the same age, so that the same input makes the same layer.
#
#     assemble.sh PYTHON_MINOR
#
# /farcall is the binary, /requirements.txt what is to be installed; a certificates file may be in
# /run/secrets/certificates.
set -eu

asked=$1
root=/rootfs

fail() {
    echo "$1" >&2
    echo "hint: $2" >&2
    exit 1
}

found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    fail "the base has no python3 on its PATH" "choose another one: make image-cpu BASE=..."
[ "$found" = "$asked" ] ||
    fail "the base has Python $found, not $asked, which the image's tag would say" "make image-cpu PYTHON=$found BASE=..."
python3 -m pip --version >/dev/null 2>&1 ||
    fail "the base's Python has no pip" "a base made from Debian has it in python3-pip"

if [ -f /run/secrets/certificates ]; then
    export PIP_CERT=/run/secrets/certificates SSL_CERT_FILE=/run/secrets/certificates
fi
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

install -D --mode=755 /farcall "$root/usr/local/bin/farcall"
"$root/usr/local/bin/farcall" --version

python3 -m pip install --quiet --no-deps --no-compile --require-hashes --target /packages \
    --requirement /requirements.txt
install -D --mode=755 /packages/bin/uv "$root/usr/local/bin/uv"

# Where the interpreter looks first for what is not part of it; what the base has already stays.
purelib=$root$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$purelib"
for package in cloudpickle hf_transfer; do
    if [ -d "/packages/$package" ] && ! python3 -c "import $package" 2>/dev/null; then
        cp -r "/packages/$package" "/packages/$package"-*.dist-info "$purelib"
    fi
done
# By content, not by age: all files get the same one below.
python3 -m compileall -q --invalidation-mode unchecked-hash -s "$root" "$purelib"

if [ ! -f /etc/ssl/certs/ca-certificates.crt ]; then
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends ca-certificates
    install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi

# Packages that requests ask for are kept with what else is kept of root's.
install -d --mode=755 "$root/etc/apt/apt.conf.d"
cat >"$root/etc/apt/apt.conf.d/99farcall" <<'END'
Dir::Cache::Archives "/root/.cache/apt/archives";
END
install -d --mode=700 "$root/root"
install -d "$root/root/.cache/apt/archives/partial"

# Whoever the container runs as: caches, the local endpoint's queue, models.
install -d --mode=1777 "$root/var/cache/farcall" "$root/var/lib/farcall" "$root/hf-cache"
install -d --mode=755 "$root/app"

find "$root" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
