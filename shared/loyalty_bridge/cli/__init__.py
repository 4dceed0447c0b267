"""The operator's command line, ``bridge``: the same against AWS and against the local run."""

from __future__ import annotations

from loyalty_bridge.cli.app import main

__all__ = ["main"]
