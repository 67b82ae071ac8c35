"""One comparison: contexts, the decode-and-score loop, the mathematics of the shift."""
