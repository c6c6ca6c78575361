"""The HTTP API of Prometheus, version 1: one file per group of endpoints, `routes.py` is the list of them all."""
