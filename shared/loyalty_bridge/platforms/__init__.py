"""The platforms' HTTP interfaces, over one transport."""
