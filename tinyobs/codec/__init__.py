"""L1: bytes <-> arrays, for what TinyObs keeps on disk.  Pure functions; the formats are in docs/format/."""
