"""The join of what shifted to where it came from: spans, borrowed words, controls; pure functions of records."""
