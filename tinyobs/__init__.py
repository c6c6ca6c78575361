"""TinyObs: the Prometheus stack in one pip install, extended in Python."""

__version__ = "0.1.0"
