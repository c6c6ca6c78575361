"""Configuration: a file in the format of Prometheus, with the key `tinyobs` beside, becomes one frozen `Config`.

`load` and `parse` are the way in (`loader.py`), `schema.py` is the table of contents of what can be set.  Pure but for
the reading of files; no part of TinyObs is started here.
"""
