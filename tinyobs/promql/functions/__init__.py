"""The functions of PromQL, one module per family, registered declaratively."""
