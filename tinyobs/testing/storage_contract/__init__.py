"""The promises of `Storage`, `Querier` and `Selection`, one function each; `check_storage` calls them all."""
