"""Convercus, a loyalty platform."""
