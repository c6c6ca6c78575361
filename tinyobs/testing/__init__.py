"""For authors of plugins: fakes, fixtures and executable contracts."""
