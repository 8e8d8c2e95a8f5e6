"""docs/finding.md names modules that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_question_names_a_module_that_is_there() -> None:
    text = (ROOT / "docs/finding.md").read_text("utf-8")
    modules = re.findall(r"^\d+\. .* `([\w/]+\.py)`$", text, re.M)
    assert len(modules) == 20
    assert [module for module in modules if not (ROOT / "geventpop3" / module).is_file()] == []
