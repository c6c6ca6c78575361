"""The Prometheus HTTP API, version 1: one module per group of endpoints."""
