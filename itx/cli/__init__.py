"""The command line. Nothing heavy at import."""
