"""Tuning from itx's own readers, and retuning without some rows. Only the commands that tune import torch from here."""
