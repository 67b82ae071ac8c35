"""Tests of the embedded pair and its world."""
