"""Figures, and how they are written down. Nothing is written that was not measured in this run."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

COLUMNS = ("what", "artifactapi", "nginx", "ratio", "to reach", "reached")


@dataclass
class Figure:
    """One row: as text, with the verdict worked out by whoever measured it (None: there is no target)."""

    what: str
    ours: str
    nginx: str = "–"
    ratio: str = "–"
    target: str = "–"
    reached: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "yes", False: "**no**", None: "–"}[self.reached]
        return (self.what, self.ours, self.nginx, self.ratio, self.target, verdict)


class Report:
    """All figures of a run, and the rounds they are the medians of."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.rounds: list[str] = []
        self.foreign: list[float] = []

    def add(self, *figures: Figure) -> None:
        self.figures += figures

    def detail(self, line: str) -> None:
        self.rounds.append(line)

    def failed(self, name: str, error: Exception) -> None:
        text = " ".join(str(error).replace("|", "/").split())[:120]
        self.add(Figure(f"{name}: could not be measured", text or type(error).__name__))

    def table(self) -> str:
        """For the terminal."""
        rows = [COLUMNS, *(figure.cells() for figure in self.figures)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:], ""])

    def markdown(self, machine: list[str], seconds: float, quick: bool) -> str:
        """For RESULTS.md."""
        def row(cells: Sequence[str]) -> str:
            return f"| {' | '.join(cells)} |"

        date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        busiest = max(self.foreign, default=0)
        lines = [
            "# Results",
            "",
            "Written by `bench/run`; do not edit. How each figure is measured is in [README.md](README.md).",
            "",
            f"{date}, {seconds / 60:.0f} minutes" + (", **quick: too short to quote**" if quick else ""),
            "",
            *(f"- {line}" for line in machine),
            f"- other load, looked at before each experiment: at most {busiest:.0%} of one core",
            "",
            "One interleaved run on one upstream, a server core each in turn; medians of the rounds, least and most in brackets.",
            "",
            row(COLUMNS),
            row(["---"] * len(COLUMNS)),
            *(row(figure.cells()) for figure in self.figures),
        ]
        if self.rounds:
            lines += ["", "## Rounds", "", "```text", *self.rounds, "```"]
        return "\n".join(lines) + "\n"


def spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median, and the least and the most."""
    middle, low, high = (format(v, form) for v in (statistics.median(values), min(values), max(values)))
    return f"{middle}{unit} ({low}–{high})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1))]
