"""The figures as SVG in one style: the same input produces the same file, and text stays text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from peers import OURS, RIVAL
from report import Table

mpl.use("svg")
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "geventpop3", "font.size": 10, "axes.grid": True})
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "grid.alpha": 0.3, "axes.axisbelow": True})
from matplotlib.figure import Figure  # noqa: E402  the style comes first

Curve = Sequence[tuple[float, float]]


class Panel(NamedTuple):
    x: str
    y: str
    curves: Mapping[str, Curve]  # by their names
    is_logarithmic: bool = False


def ratios(tables: Sequence[Table], path: Path) -> None:
    """Draw the ratio of every server to Dovecot, in each scenario where Dovecot was measured."""
    compared = {found.scenario.name: times(found) for found in tables}
    compared = {name: known for name, known in compared.items() if known}
    peers = sorted({peer for known in compared.values() for peer in known}, key=lambda peer: (peer != OURS, peer))
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(peers))
    for place, peer in enumerate(peers):
        at = [number + place * width for number, known in enumerate(compared.values()) if peer in known]
        axes.bar(at, [known[peer] for known in compared.values() if peer in known], width, label=peer)
    axes.set_yscale("log")
    axes.set_xticks([number + 0.4 - width / 2 for number in range(len(compared))], list(compared))
    axes.set_ylabel(f"times as good as {RIVAL}")
    axes.legend(frameon=False)
    save(figure, path)


def times(found: Table) -> dict[str, float]:
    """Return the ratio of each server of the table to the rival; empty without the rival."""
    values = {row.peer: row.value for row in found.rows}
    if RIVAL not in values:
        return {}
    known = {peer: found.scenario.ratio(value, values[RIVAL]) for peer, value in values.items()}
    return {peer: ratio for peer, ratio in known.items() if ratio}


def curves(panels: Sequence[Panel], path: Path) -> None:
    """Draw two panels in each row; the x axis is logarithmic, the y axis if a panel says so."""
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(9, 3.4 * rows), layout="constrained")
    grid: Any = figure.subplots(rows, 2, squeeze=False)
    told: list[list[str]] = []  # which names some legend has
    for axes, panel in zip(grid.flat, panels, strict=False):
        for name, points in panel.curves.items():
            axes.plot([point[0] for point in points], [point[1] for point in points], marker="o", label=name)
        axes.set(xscale="log", xlabel=panel.x, ylabel=panel.y)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        if panel.is_logarithmic:
            axes.set(yscale="log")
            axes.yaxis.set_major_formatter("{x:,g}")
        else:
            axes.set_ylim(bottom=0)
        if len(panel.curves) > 1 and list(panel.curves) not in told:
            told.append(list(panel.curves))
            axes.legend(frameon=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
