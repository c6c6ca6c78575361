"""What kinds of discovery share, built-in ones and those of plugins: asking again and again, labels, HTTP answers."""
