"""The doctor: everything that would make a comparison lie, looked for before one is made."""
