"""The reproduction: one thin script a DVC stage. Reads params.yaml, calls vitol."""
