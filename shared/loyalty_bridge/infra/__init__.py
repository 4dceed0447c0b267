"""Access to AWS and HTTP, for everything above it."""
