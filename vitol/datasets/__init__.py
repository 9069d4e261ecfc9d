"""Data set layouts, one module each, all read into the WSOL split format (see `vitol.datasets.splits`)."""
