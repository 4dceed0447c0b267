"""Braze, an engagement platform."""
