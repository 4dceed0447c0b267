"""Small servers that stand in for the platforms, enforce their documented rules, and misbehave on demand.

They import nothing of the bridge, so that a test against them says something about the bridge.
"""
