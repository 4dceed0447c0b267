"""Actions that engagement platforms request on loyalty platforms, each executed at most once."""
