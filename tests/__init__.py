"""The tests of itx."""
