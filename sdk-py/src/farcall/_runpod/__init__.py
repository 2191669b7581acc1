"""Endpoints on RunPod: described here, made and changed by its REST API."""
