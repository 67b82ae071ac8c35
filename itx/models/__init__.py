"""Weights become distributions: the engine contract and the engines behind it."""
