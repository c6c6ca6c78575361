"""Storage in memory only (`memory://`): an implementation of the contracts of `tinyobs.abc` without files."""
