"""`MemberUpdate` into the wire objects of the engagement platforms. Pure functions: no AWS, no HTTP."""
