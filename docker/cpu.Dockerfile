# The image of a worker without a GPU: a Python base, and one layer on it. Every mode, as the platform's variables say.
#
#   docker build -f docker/cpu.Dockerfile --build-arg PYTHON=3.12 -t farcall/worker:py3.12 .
#
# or `make image-cpu PYTHON=3.12 IMAGE=... BASE=...`, which takes a binary that was built outside.

# The Python that user code runs in. Clients send code that only the same minor version understands.
ARG PYTHON=3.12
# Any image made from Debian or Ubuntu, with this python3 and pip on its PATH.
ARG BASE=python:${PYTHON}-slim-bookworm
# `source` builds the binary here; `prebuilt` takes docker/bin/ARCHITECTURE/farcall.
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

FROM ${BASE} AS assemble
ARG PYTHON
# The age of all files; releases give their commit's.
ARG SOURCE_DATE_EPOCH=0
COPY docker/requirements.txt docker/assemble.sh /
COPY --from=binary /farcall /farcall
RUN --mount=type=secret,id=certificates SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} sh /assemble.sh "${PYTHON}"

FROM ${BASE}
# No git, compiler or curl: what a request needs of those is installed for it.
COPY --from=assemble /rootfs/ /

ENV HOST=0.0.0.0 \
    FARCALL_CACHE_DIR=/var/cache/farcall \
    FARCALL_DATA_DIR=/var/lib/farcall \
    HF_HOME=/hf-cache \
    DEBIAN_FRONTEND=noninteractive
WORKDIR /app
# The local endpoint's; on the platform it is 80.
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["farcall", "doctor", "--ready"]
# It is a process 1: it reaps what is orphaned, and ends on SIGTERM.
ENTRYPOINT ["farcall"]
CMD ["serve"]

ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="farcall worker" \
    org.opencontainers.image.description="Runs Python functions and classes that clients send it, as a serverless worker" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    farcall.python="${PYTHON}" \
    farcall.kind="cpu"
