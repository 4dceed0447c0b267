"""MoEngage, an engagement platform."""
