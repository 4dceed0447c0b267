"""Small servers that stand in for the platforms, enforce their documented rules, and misbehave when told to.

They import nothing of the bridge, so that a test against them says something about the bridge.
"""
