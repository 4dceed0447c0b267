"""What the HTTP functions share: key check, request parsing, errors to responses."""
