"""Loyalty and engagement platforms: a folder each, with what is known of its data and its API. No AWS here."""
