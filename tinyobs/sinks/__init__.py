"""What kinds of sinks share, built-in ones and those of plugins: entries of a section, selectors, following, second tries."""
