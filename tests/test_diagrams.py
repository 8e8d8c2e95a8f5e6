"""docs/layers.svg shows the imports as they are, and a reader can see all of it."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import draw_layers
import pytest
from test_layers import LAYERS, ROOT


@pytest.fixture(scope="module")
def drawing() -> str:
    return draw_layers.drawing()


def test_the_diagram_of_layers_is_current(drawing: str) -> None:
    assert draw_layers.DRAWING.read_text("utf-8") == drawing, "make diagrams draws it anew"


def test_each_package_has_a_box_of_its_own_within_the_picture(drawing: str) -> None:
    picture = ElementTree.fromstring(drawing)
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    boxes = [
        [float(rect.attrib[name]) for name in ("x", "y", "width", "height")]
        for rect in picture.iter("{http://www.w3.org/2000/svg}rect")
        if rect.attrib["class"] == "box"
    ]
    assert len(boxes) == len(LAYERS)
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {draw_layers.title(name) for name in LAYERS} <= texts


def test_each_arrow_leads_down_and_what_is_left_out_is_implied(drawing: str) -> None:
    row = draw_layers.rows()
    drawn = draw_layers.arrows()
    assert drawn["cli"] >= {"testing", "workers"}
    assert drawn["cli"].isdisjoint({"server", "service"})  # workers/ and testing/ imply them
    assert "server" in drawn[ROOT]
    assert all(row[source] > row[target] for source, targets in drawn.items() for target in targets)
    paths = re.findall(r'<path class="arrow"', drawing)
    assert len(paths) == sum(len(targets) for targets in drawn.values())
