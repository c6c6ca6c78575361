"""L3: recording and alerting rules as pure state machines."""
