"""Source records of the loyalty platforms, read into `MemberUpdate`. Pure functions: no AWS, no HTTP."""
