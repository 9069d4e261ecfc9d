"""The rivals of Tables 1 and 2: classifiers whose class maps localize, each one class in a module of its own."""
