"""Pure functions of records: aggregates, Markdown, the tidy table, plain text."""
