"""Draw docs/layers.svg, the packages in their layers, from the imports.

    python tests/draw_layers.py            # writes docs/layers.svg (`make diagrams`)

An arrow leads from a package to one that it imports. An arrow that others imply is left out: who imports service/ may
import what service/ imports. The layers are those of tests/test_layers.py, which refuses an import that goes up.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Mapping, Sequence
from math import fsum  # exact, so that every version of Python draws the same
from pathlib import Path
from typing import NamedTuple

from test_layers import LAYERS, MODULES, PACKAGE, ROOT, imported, package_of, reachable

DRAWING = Path(__file__).parent.parent / "docs" / "layers.svg"

WIDTH, MARGIN, LABEL = 860, 24, 64
BOX, GAP, PORT = 46, 42, 14
"""Height of a box, between two rows of boxes, and between two arrows at one box."""
LANE = 16
"""Width that an arrow takes where it passes a row of boxes."""
SPACE = 30
"""Least space between two boxes of a row."""

STYLE = """
  text { font: 15px system-ui, sans-serif; fill: #1f2933; text-anchor: middle }
  .small { font-size: 11px; fill: #52606d }
  .label { font-size: 12px; fill: #52606d; text-anchor: start }
  .row { fill: #eef2f6 }
  .box { fill: #ffffff; stroke: #3e6a97; stroke-width: 1.2 }
  .arrow { fill: none; stroke: #7b8794; stroke-width: 1; marker-end: url(#head) }
  .head { fill: #7b8794 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb }
    .small, .label { fill: #9aa5b1 }
    .row { fill: #1d2733 }
    .box { fill: #0f1720; stroke: #6ea3d8 }
    .arrow { stroke: #8b98a6 }
    .head { fill: #8b98a6 }
  }
"""

Arrows = Mapping[str, set[str]]


class Lane(NamedTuple):
    """The place in a row where an arrow passes on its way from *source* to *target*."""

    source: str
    target: str
    row: int


Node = str | Lane


def arrows() -> dict[str, set[str]]:
    """Return the packages that each package imports, without those that another of them implies."""
    found: dict[str, set[str]] = {name: set() for name in LAYERS}
    for path in MODULES:
        own = package_of(path)
        for name in imported(
            ast.parse((PACKAGE / path).read_text("utf-8")), ".".join(["geventpop3", *path.parts[:-1]])
        ):
            package, _, rest = name.partition(".")
            if package == "geventpop3":
                target = rest.partition(".")[0]
                found[own].add(target if target in LAYERS else ROOT)
        found[own].discard(own)
    return {
        name: {
            target for target in targets if not any(target in reachable(other, found) for other in targets - {target})
        }
        for name, targets in found.items()
    }


def rows() -> dict[str, int]:
    """Return the row of each package, from the bottom: its layer, and one for the public names above their sources."""
    heights = {name: layer + (name == ROOT) / 2 for name, layer in LAYERS.items()}
    order = sorted(set(heights.values()))
    return {name: order.index(height) for name, height in heights.items()}


def routes(of: Arrows, row: Mapping[str, int]) -> list[list[Node]]:
    """Return the way of each arrow, from its source through the lanes of the rows between to its target."""
    return [
        [source, *(Lane(source, target, at) for at in range(row[source] - 1, row[target], -1)), target]
        for source in sorted(of)
        for target in sorted(of[source])
    ]


def ordered(ways: Sequence[Sequence[Node]], row: Mapping[str, int]) -> list[list[Node]]:
    """Return the nodes of each row from left to right, in an order in which few arrows cross."""
    lines: list[list[Node]] = [[] for _ in range(max(row.values()) + 1)]
    for node in dict.fromkeys([*sorted(row), *(node for way in ways for node in way)]):
        lines[row[node] if isinstance(node, str) else node.row].append(node)
    steps = [pair for way in ways for pair in itertools.pairwise(way)]
    best, fewest = lines, crossings(lines, steps)
    for sweep in range(24):
        lines = [list(line) for line in lines]
        down = sweep % 2 == 0
        for at in range(len(lines))[:: 1 if down else -1]:
            place = {node: index / len(line) for line in lines for index, node in enumerate(line)}
            near: dict[Node, list[float]] = {}
            for upper, lower in steps:
                one, other = (upper, lower) if down else (lower, upper)
                near.setdefault(one, []).append(place[other])
            lines[at].sort(key=lambda node: fsum(near[node]) / len(near[node]) if node in near else place[node])
        lines = swapped(lines, steps)
        if (count := crossings(lines, steps)) < fewest:
            best, fewest = lines, count
    return best


def swapped(lines: list[list[Node]], steps: Sequence[tuple[Node, Node]]) -> list[list[Node]]:
    """Exchange neighbours of a row as long as that saves crossings."""
    fewest = crossings(lines, steps)
    better = True
    while better:
        better = False
        for line in lines:
            for one, other in itertools.combinations(range(len(line)), 2):
                line[one], line[other] = line[other], line[one]
                count = crossings(lines, steps)
                if count < fewest:
                    fewest, better = count, True
                else:
                    line[one], line[other] = line[other], line[one]
    return lines


def crossings(lines: Sequence[Sequence[Node]], steps: Sequence[tuple[Node, Node]]) -> int:
    """Return how many pairs of arrows cross between two rows."""
    place = {node: (at, index) for at, line in enumerate(lines) for index, node in enumerate(line)}
    between: dict[int, list[tuple[int, int]]] = {}
    for upper, lower in steps:
        between.setdefault(place[upper][0], []).append((place[upper][1], place[lower][1]))
    return sum(
        (one[0] - other[0]) * (one[1] - other[1]) < 0
        for pairs in between.values()
        for one, other in itertools.combinations(pairs, 2)
    )


def title(package: str) -> str:
    if package == ROOT:
        return "geventpop3"
    return f"{package}/" if (PACKAGE / package).is_dir() else f"{package}.py"


@functools.cache
def subtitle(package: str) -> str:
    """Return the sub-packages; for the public names, what they are."""
    if package == ROOT:
        return "the public names"
    folder = PACKAGE / package
    return ", ".join(f"{path.parent.name}/" for path in sorted(folder.glob("*/__init__.py")))


def width(node: Node) -> float:
    """Return the width of a box, by a generous guess at that of its text, or of a lane."""
    if isinstance(node, Lane):
        return LANE
    return max(9 * len(title(node)), 6.4 * len(subtitle(node))) + 24


def spread(lines: Sequence[Sequence[Node]], steps: Sequence[tuple[Node, Node]]) -> dict[Node, float]:
    """Return the middle of each node: near the nodes it is connected with, apart from its neighbours in the row."""
    left, right = MARGIN + LABEL, WIDTH - MARGIN
    x: dict[Node, float] = {}
    for line in lines:
        for index, node in enumerate(line):
            x[node] = left + (right - left) * (index + 0.5) / len(line)
    near: dict[Node, list[Node]] = {}
    for one, other in steps:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    for _ in range(200):
        for line in lines:
            wanted = [fsum(x[other] for other in near.get(node, [node])) / len(near.get(node, [node])) for node in line]
            for node, middle in zip(line, wanted, strict=True):
                x[node] += (middle - x[node]) / 2
            apart(line, x, left, right)
    return {node: round(middle, 1) for node, middle in x.items()}


def apart(line: Sequence[Node], x: dict[Node, float], left: float, right: float) -> None:
    """Move the nodes of a row so that none overlaps another or the margins."""

    def distance(one: Node, other: Node) -> float:
        return (width(one) + width(other)) / 2 + SPACE / (1 + isinstance(one, Lane) + isinstance(other, Lane))

    for _ in range(20):
        for one, other in itertools.pairwise(line):
            lack = distance(one, other) - (x[other] - x[one])
            if lack > 0:
                x[one] -= lack / 2
                x[other] += lack / 2
    low = left + width(line[0]) / 2
    for index, node in enumerate(line):
        low = max(low, x[line[index - 1]] + distance(line[index - 1], node)) if index else low
        x[node] = max(x[node], low)
    high = right - width(line[-1]) / 2
    for index in range(len(line) - 1, -1, -1):
        node = line[index]
        if index < len(line) - 1:
            high = min(high, x[line[index + 1]] - distance(node, line[index + 1]))
        x[node] = min(x[node], high)


def drawing() -> str:
    """Return the picture as SVG."""
    row = rows()
    ways = routes(arrows(), row)
    lines = ordered(ways, row)
    steps = [pair for way in ways for pair in itertools.pairwise(way)]
    x = spread(lines, steps)
    height = 2 * MARGIN + len(lines) * BOX + (len(lines) - 1) * GAP

    def top(node: Node) -> int:
        at = row[node] if isinstance(node, str) else node.row
        return MARGIN + (len(lines) - 1 - at) * (BOX + GAP)

    def port(node: Node, others: list[Node], other: Node) -> float:
        if isinstance(node, Lane):
            return x[node]
        order = sorted(others, key=lambda one: (x[one], str(one)))
        distance = min(PORT, (width(node) - 20) / max(1, len(order) - 1))
        return x[node] + (order.index(other) - (len(order) - 1) / 2) * distance

    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for upper, lower in steps:
        below.setdefault(upper, []).append(lower)
        above.setdefault(lower, []).append(upper)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img">',
        "<title>The packages of geventpop3 in their layers; an arrow leads to what a package imports</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="head" d="M0 1 L8 4 L0 7 z"/></marker></defs>',
    ]
    for line in lines:
        name = next(node for node in line if isinstance(node, str))
        label = "" if name == ROOT else f"layer {LAYERS[name]}"
        out.append(
            f'<rect class="row" x="{MARGIN - 12}" y="{top(name) - 8}" width="{WIDTH - 2 * MARGIN + 24}" '
            f'height="{BOX + 16}" rx="6"/>'
        )
        out.append(f'<text class="label" x="{MARGIN}" y="{top(name) + BOX / 2 + 4:g}">{label}</text>')
    for way in ways:
        path = ""
        for upper, lower in itertools.pairwise(way):
            start, y = port(upper, below[upper], lower), top(upper) + BOX
            end, bottom = port(lower, above[lower], upper), top(lower)
            middle = (y + bottom) / 2
            path += f"{'L' if path else 'M'}{start:.1f} {y} "
            path += f"C{start:.1f} {middle:g} {end:.1f} {middle:g} {end:.1f} {bottom} "
        out.append(f'<path class="arrow" d="{path.rstrip()}"/>')
    for line in lines:
        for node in line:
            if isinstance(node, str):
                w, small = width(node), subtitle(node)
                out.append(
                    f'<rect class="box" x="{x[node] - w / 2:.1f}" y="{top(node)}" width="{w:.1f}" height="{BOX}" '
                    'rx="5"/>'
                )
                out.append(f'<text x="{x[node]}" y="{top(node) + (20 if small else 28)}">{title(node)}</text>')
                if small:
                    out.append(f'<text class="small" x="{x[node]}" y="{top(node) + 36}">{small}</text>')
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    DRAWING.write_text(drawing(), "utf-8")
