"""L2: PromQL.  text -> `parser` -> `check` -> `plan` -> `evaluate` -> columns.  Sees storage only as `abc.Querier`."""
