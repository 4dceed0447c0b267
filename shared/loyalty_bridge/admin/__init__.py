"""The operator's page and its API: sign-in, what an operator may do, and what was done."""
