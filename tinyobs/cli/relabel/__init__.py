"""The commands of `tinyobs relabel`, one file each; `group.py` joins them."""
