"""Tuning data: readers of the files people have, and the indexes that find where words of a response come from."""
