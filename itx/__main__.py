"""``python -m itx``."""

from __future__ import annotations

from itx.cli.main import main

if __name__ == "__main__":
    main()
