"""The records of the named data sets, one module per task."""
