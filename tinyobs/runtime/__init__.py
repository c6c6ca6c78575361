"""L4: the trio shell that joins the parts: agent, supervisor, reload, statistics."""
