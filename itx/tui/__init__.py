"""The Textual app. It knows comparisons by their events and runs by their records, never an engine."""
