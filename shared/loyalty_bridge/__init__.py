"""Loyalty Bridge: loyalty platforms on one side, engagement platforms on the other."""

USER_AGENT = "loyalty-bridge/0.1"
"""What the bridge calls itself to platforms and to AWS."""
