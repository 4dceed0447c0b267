"""What operators do; page, API and command line share it."""
