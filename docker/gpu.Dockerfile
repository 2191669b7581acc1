# The image of a worker with a GPU: a Python base with torch and its CUDA, and one layer on it. Torch is part of the
# base: requests that need it find it, and never install it again.
#
#   docker build -f docker/gpu.Dockerfile --build-arg PYTHON=3.12 -t farcall/worker:py3.12-gpu .
#
# or `make image-gpu PYTHON=3.12 IMAGE=... BASE=...`. On a base that has torch and CUDA, give TORCH= and CUDA=.

# As in cpu.Dockerfile.
ARG PYTHON=3.12
ARG BASE=python:${PYTHON}-slim-bookworm
ARG FARCALL=source

FROM rust:1.95-bookworm AS source
WORKDIR /source
COPY . .
# As it comes: the components that rust-toolchain.toml asks for more are for `make check`.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    --mount=type=secret,id=certificates \
    if [ -f /run/secrets/certificates ]; then export CARGO_HTTP_CAINFO=/run/secrets/certificates; fi \
    && make build \
    && cp target/release/farcall /farcall

FROM scratch AS prebuilt
ARG TARGETARCH
COPY docker/bin/${TARGETARCH}/farcall /farcall

FROM ${FARCALL} AS binary

# Below the worker: these gigabytes stay the same when farcall changes.
FROM ${BASE} AS torch
# What is installed here. Its wheels bring CUDA's libraries; the driver is the machine's.
ARG TORCH="torch==2.9.1 torchvision==0.24.1 torchaudio==2.9.1"
# Debian packages: requests with `git+https://` need git.
ARG PACKAGES="git"
# hadolint ignore=DL3008
RUN [ -z "${PACKAGES}" ] || { apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; }
# hadolint ignore=DL3013
RUN --mount=type=secret,id=certificates \
    if [ -n "${TORCH}" ]; then \
        if [ -f /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi; \
        PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir ${TORCH}; \
    fi

FROM torch AS assemble
ARG PYTHON
ARG SOURCE_DATE_EPOCH=0
COPY docker/requirements.txt docker/requirements-gpu.txt docker/assemble.sh /
COPY --from=binary /farcall /farcall
RUN --mount=type=secret,id=certificates \
    cat /requirements-gpu.txt >> /requirements.txt \
    && SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} sh /assemble.sh "${PYTHON}"

FROM torch
COPY --from=assemble /rootfs/ /

# The version of CUDA that torch brings: a driver that is too old for it is told at the start. Empty: the base's.
ARG CUDA=12.8
ENV CUDA_VERSION=${CUDA:-${CUDA_VERSION}} \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    FARCALL_EXPECT_GPU=1 \
    HOST=0.0.0.0 \
    FARCALL_CACHE_DIR=/var/cache/farcall \
    FARCALL_DATA_DIR=/var/lib/farcall \
    HF_HOME=/hf-cache \
    HF_HUB_ENABLE_HF_TRANSFER=1 \
    DEBIAN_FRONTEND=noninteractive
WORKDIR /app
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["farcall", "doctor", "--ready"]
ENTRYPOINT ["farcall"]
CMD ["serve"]

ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="farcall worker, GPU" \
    org.opencontainers.image.description="Runs Python functions and classes that clients send it, as a serverless worker with a GPU" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    farcall.python="${PYTHON}" \
    farcall.kind="gpu"
