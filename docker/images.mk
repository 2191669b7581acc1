# Images. Part of the Makefile, which includes it.

# The tag's first part: `make image-cpu IMAGE=me/worker` makes me/worker:py3.12.
IMAGE ?= farcall/worker
# For images, PYTHON=3.12 is the minor version they have; elsewhere it is the interpreter to work with.
IMAGE_PYTHON := $(or $(filter 3.%,$(PYTHON)),3.12)
ifneq ($(filter 3.%,$(PYTHON)),)
override PYTHON := python3
endif
# What they are built on; empty: the Dockerfile's own.
BASE ?=
# More for `docker build`, such as IMAGE_ARGS="--build-arg TORCH=torch==2.8.0".
IMAGE_ARGS ?=
# Where downloads go through a proxy of your own: its certificates, which no layer keeps.
CERTIFICATES ?= $(SSL_CERT_FILE)

MACHINE := $(shell uname -m)
ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(MACHINE)))
TRIPLE := $(MACHINE)-unknown-linux-gnu
PORTABLE := docker/bin/$(ARCH)/farcall
# Python's and CUDA's own builds ask for this C library or a newer one; so does every Debian since 8.
GLIBC := 2.17
# One that knows `--secret`: before 23 built in, since then by a plugin.
DOCKER ?= $(shell for docker in docker /usr/bin/docker; do \
	$$docker buildx version >/dev/null 2>&1 && break; \
	$$docker --version 2>/dev/null | grep -Eq ' (18|19|20)\.' && break; done; echo $$docker)
DOCKER_BUILD = DOCKER_BUILDKIT=1 $(DOCKER) build $(if $(wildcard $(CERTIFICATES)),--secret id=certificates$(,)src=$(CERTIFICATES)) \
	--build-arg FARCALL=prebuilt --build-arg PYTHON=$(IMAGE_PYTHON) $(if $(BASE),--build-arg BASE=$(BASE)) \
	--build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) $(IMAGE_ARGS)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
, := ,

.PHONY: portable
portable: $(PORTABLE) ## Build farcall for old systems too (glibc 2.17): one file for any image

# By a linker that knows old C libraries: a build for this machine would ask for this machine's.
.PHONY: $(PORTABLE)
$(PORTABLE): .venv-portable/.installed
	PATH="$(CURDIR)/.venv-portable/bin:$$PATH" cargo zigbuild --release --locked --target $(TRIPLE).$(GLIBC) \
		--package farcall-runner
	PATH="$(CURDIR)/.venv-portable/bin:$$PATH" \
		FARCALL_RUNNER_LIBRARY=$(abspath $(TARGET))/$(TRIPLE)/release/libfarcall_runner.so \
		cargo zigbuild --release --locked --target $(TRIPLE).$(GLIBC) --package farcall
	install -D $(TARGET)/$(TRIPLE)/release/farcall $@

.PHONY: image-cpu
image-cpu: $(PORTABLE) ## Build the CPU image: IMAGE=farcall/worker PYTHON=3.12 BASE=python:3.12-slim-bookworm
	$(DOCKER_BUILD) --file docker/cpu.Dockerfile --tag $(IMAGE):py$(IMAGE_PYTHON) .

.PHONY: image-gpu
image-gpu: $(PORTABLE) ## Build the GPU image, the same way, with torch
	$(DOCKER_BUILD) --file docker/gpu.Dockerfile --tag $(IMAGE):py$(IMAGE_PYTHON)-gpu .

.PHONY: image-lint
image-lint: .venv-images/.installed ## Check Dockerfiles, and that YAML and JSON for platforms can be read
	.venv-images/bin/hadolint docker/*.Dockerfile
	.venv-images/bin/python docker/lint.py

.PHONY: image-test
image-test: ## Build the CPU image and run it for real, where there is a Docker engine (or root and dockerd)
	cd docker && $(if $(BASE),BASE=$(BASE) IMAGE_PYTHON=$(IMAGE_PYTHON)) $(PYTHON) -m image_test $(CASES)
