"""One panel of a chart, drawn into matplotlib axes; all sizes are inches of measured text."""

from __future__ import annotations

import functools

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from harness.report import format as fmt
from harness.report.charts import Curve, Curves, Dots, Mark
from harness.report.format import Unit
from harness.report.looks import Look

FAMILY = "DejaVu Sans"
INK, FAINT, GRID, BAND = "#1d2129", "#5b6270", "#e3e6ea", "#f4f5f7"
SMALL, MEDIUM = 8.5, 9.5
NAME_LIMIT = 1.9
ROW, CURVES_HEIGHT = 0.26, 1.9
TITLE_ROOM, AXIS_ROOM = 0.28, 0.52


@functools.lru_cache(maxsize=4096)
def width(text: str, size: float) -> float:
    """Inches that a text takes."""
    font = FontProperties(family=FAMILY, size=size)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / 72


@functools.cache
def _charmap() -> frozenset[int]:
    return frozenset(get_font(findfont(FAMILY)).get_charmap())


def drawable(text: str) -> str:
    """The text with a box for every character that the font does not have."""
    return "".join(it if ord(it) in _charmap() else "\N{WHITE SQUARE}" for it in text)


def shortened(text: str, size: float, limit: float) -> str:
    """The text, cut with an ellipsis where it takes more than `limit` inches."""
    text = drawable(text)
    if width(text, size) <= limit:
        return text
    kept = len(text)
    while kept > 1 and width(text[:kept] + "…", size) > limit:
        kept -= 1
    return text[:kept] + "…"


def names_width(panel: Dots | Curves | None) -> float:
    """Room to the left of a panel's axes."""
    if panel is None:
        return 0.0
    if isinstance(panel, Curves):
        return 0.75
    names = [shortened(name, SMALL, NAME_LIMIT) for name, _ in panel.rows if panel.names]
    return max((width(name, SMALL) for name in names), default=0.0) + 0.15


def texts_width(panel: Dots | Curves | None) -> float:
    """Room to the right of a panel's axes, for the number beside its rightmost mark."""
    if not isinstance(panel, Dots):
        return 0.15
    texts = [mark.text for _, marks in panel.rows for mark in marks]
    return max((width(text, SMALL) for text in texts), default=0.0) + 0.2


def height(panel: Dots | Curves | None) -> float:
    """Height of a panel's axes."""
    if isinstance(panel, Dots):
        return sum(_row_height(panel, marks) for _, marks in panel.rows)
    return CURVES_HEIGHT if panel else 0.0


def _row_height(panel: Dots, marks: tuple[Mark, ...]) -> float:
    # A number beside a mark needs more room than the mark itself.
    each = 0.17 if any(mark.text for mark in marks) else 0.11
    return max(ROW, 0.12 + each * len(marks))


def draw(axes: Axes, panel: Dots | Curves, title_width: float) -> None:
    """Draw a panel; `title_width` is the room for its title."""
    axes.set_title(
        shortened(panel.title, MEDIUM, title_width),
        loc="left",
        fontsize=MEDIUM,
        fontweight="bold",
        color=INK,
        pad=6,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(length=0, labelsize=SMALL, colors=FAINT, which="both")
    axes.set_axisbelow(True)
    axes.set_xlabel(drawable(panel.axis), fontsize=SMALL, color=FAINT)
    if isinstance(panel, Dots):
        _draw_dots(axes, panel)
    else:
        _draw_curves(axes, panel)


def _draw_dots(axes: Axes, panel: Dots) -> None:
    top, middles = 0.0, []
    for number, (_, marks) in enumerate(panel.rows):
        tall = _row_height(panel, marks)
        if number % 2 == 0:
            axes.axhspan(top, top + tall, color=BAND, linewidth=0, zorder=0)
        middles.append(top + tall / 2)
        _draw_row(axes, panel, marks, top, tall)
        top += tall
    axes.set_ylim(top, 0)
    names = [shortened(name, SMALL, NAME_LIMIT) if panel.names else "" for name, _ in panel.rows]
    axes.set_yticks(middles, names, color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    _scale(axes, panel)


def _draw_row(axes: Axes, panel: Dots, marks: tuple[Mark, ...], top: float, tall: float) -> None:
    if not marks:
        axes.annotate(
            "not counted",
            (0, top + tall / 2),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=FAINT,
        )
    for number, mark in enumerate(marks):
        y = top + 0.06 + (tall - 0.12) * (number + 0.5) / len(marks)
        _draw_mark(axes, mark, y, stem=not panel.log)


def _draw_mark(axes: Axes, mark: Mark, y: float, *, stem: bool) -> None:
    color = mark.look.color
    right = mark.value
    if stem:
        axes.plot([0, mark.value], [y, y], color=color, linewidth=1.6, alpha=0.35, zorder=2)
    if mark.low is not None and mark.high is not None:
        right = max(mark.high, mark.value)
        axes.plot([mark.low, mark.high], [y, y], color=color, linewidth=2.2, zorder=3)
        for edge in (mark.low, mark.high):
            axes.plot([edge], [y], marker="|", color=color, markersize=8, mew=1.6, zorder=3)
    dot(axes, mark.look, mark.value, y, hollow=mark.hollow)
    if mark.text:
        axes.annotate(
            mark.text,
            (right, y),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
            annotation_clip=False,
        )


def dot(axes: Axes, look: Look, x: float, y: float, *, hollow: bool) -> None:
    """A mark in its setup's colour and shape."""
    axes.plot(
        [x],
        [y],
        marker=look.marker,
        linestyle="none",
        markersize=6.5,
        markerfacecolor="white" if hollow else look.color,
        markeredgecolor=look.color if hollow else "white",
        markeredgewidth=1.6 if hollow else 0.8,
        clip_on=False,
        zorder=4,
    )


def _scale(axes: Axes, panel: Dots) -> None:
    values = [
        it for _, marks in panel.rows for mark in marks for it in (mark.value, mark.high) if it
    ]
    if not values:
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        return
    if panel.log:
        low, high = min(values), max(values)
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.6)
        axes.xaxis.set_major_locator(LogLocator(base=10, numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(values) * 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(_formatter(panel.unit))


def _draw_curves(axes: Axes, panel: Curves) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    medians = [it for it in panel.curves if not it.faint]
    for curve in panel.curves:
        if curve.faint:
            _draw_curve(axes, curve, linewidth=0.8, alpha=0.3)
    for number, curve in enumerate(medians):
        # Each on top of the ones before, and thinner, so that curves that coincide all show.
        rest = (len(medians) - 1 - number) / max(len(medians) - 1, 1)
        _draw_curve(axes, curve, linewidth=1.4 + 3.2 * rest)
    if panel.target is not None:
        _draw_target(axes, panel.target, [it.points[-1][1] for it in medians])
    axes.set_ylabel(panel.up, fontsize=SMALL, color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=panel.unit == "epoch"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(_formatter(panel.unit))
    axes.yaxis.set_major_formatter(_formatter(panel.up_unit))
    axes.margins(x=0.03, y=0.08)


def _draw_curve(axes: Axes, curve: Curve, *, linewidth: float, alpha: float = 1.0) -> None:
    axes.plot(
        [x for x, _ in curve.points],
        [y for _, y in curve.points],
        color=curve.look.color,
        linewidth=linewidth,
        alpha=alpha,
        # At the end, where the final value is read; a lone point makes no line.
        marker="" if curve.faint else curve.look.marker,
        markevery=[-1],
        markersize=4 + linewidth,
        dashes=curve.look.dashes or (None, None),
        zorder=2,
    )


def _draw_target(axes: Axes, target: float, ends: list[float]) -> None:
    axes.axhline(target, color=INK, linewidth=1, dashes=(4, 3), zorder=1.5)
    # On the side where the curves do not end.
    below = sum(end > target for end in ends) * 2 > len(ends)
    axes.annotate(
        "target",
        (1, target),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, -4 if below else 4),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=SMALL,
        color=INK,
    )


def _formatter(unit: Unit) -> FuncFormatter:
    return FuncFormatter(lambda value, _: fmt.tick(value, unit))
