"""A recorded run on disk: write, resume, read."""
