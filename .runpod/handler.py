"""What RunPod's hub looks for. The worker is a program of its own, which is the image's entry point."""

import os

os.execvp("farcall", ["farcall", "serve"])  # noqa: S606, S607 - it is the image's own
