"""Punchh, a loyalty platform."""
