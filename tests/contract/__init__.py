"""Contract tests: the published examples, replayed against the service over HTTP."""
