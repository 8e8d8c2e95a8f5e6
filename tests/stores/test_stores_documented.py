"""The store that docs/stores.md shows keeps the contract of all stores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from store_contract import StoreContract

from geventpop3.stores.store import Store

PAGE = Path(__file__).parent.parent.parent / "docs" / "stores.md"


class TestDocumentedStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "mail.db"

    def make_store(self) -> Store:
        (code,) = re.findall(
            r"^```python\n(import sqlite3\n.+?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        names: dict[str, Any] = {}
        exec(code, names)
        store = names["TableStore"](self.path)
        assert isinstance(store, Store)
        return store

    def deliver(self, store: Any, owner: str, content: bytes) -> None:
        store.deliver(owner, content)
