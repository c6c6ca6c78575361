"""L3: configuration: `schema` (frozen attrs values), `loader` (YAML file -> schema, every error with its position)."""
