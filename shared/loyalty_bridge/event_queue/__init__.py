"""The ordered way in: what records on the queue or stream look like, and how they get there."""
