"""The commands of `tinyobs target`; `group.py` joins them."""
