"""The commands of `tinyobs tsdb`, one file each; `group.py` joins them."""
