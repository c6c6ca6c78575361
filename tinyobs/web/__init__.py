"""L3: HTTP: the server (hypercorn behind our own listener loop), middleware and the Prometheus API."""
