"""L5: every feature as a plugin: one file each, entering through the same hooks as a stranger's."""
