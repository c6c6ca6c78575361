"""L1: wire formats that others speak: text, OpenMetrics, remote write, the JSON of the HTTP API.  Pure."""
