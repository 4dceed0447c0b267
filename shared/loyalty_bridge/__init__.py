"""Loyalty Bridge: loyalty platforms on one side, engagement platforms on the other."""
