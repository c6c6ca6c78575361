"""Answers as data frames of pandas, Polars and Arrow, each imported only when it is asked for."""
