"""Feature sets, and the store that keeps what was computed."""
