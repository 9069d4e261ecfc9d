"""Benchmarks: each prints a table of ratios against a named rival; `make bench` runs all of them."""
