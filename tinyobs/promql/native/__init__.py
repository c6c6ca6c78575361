"""Native histograms in queries: rows of matrices, and what PromQL does to them."""
