"""Sketches side by side on one sheet, drawn with matplotlib as PNG and SVG.

All that is alike on a sheet is one artist: axes, texts and lines of their own would take a hundred
times as long.
"""

from __future__ import annotations

import functools
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform, Transform
from numpy.typing import NDArray
from PIL import Image

from harness.report.letters import EM, Line, Weight, glyph, line_of, outline, placed
from harness.report.looks import Look
from harness.report.sketch import Point, Sketch

DPI = 150
LIGHTEST, MOST = 240, 40
"""Of the shades in a PNG, and the colours that have any."""
DOT = 6.5
COMPRESSION = 3
"""Of PNG: a third of the time of the default for a few more bytes."""


class Canvas:
    """A sheet of `wide` × `tall` inches; x goes right and y goes down."""

    def __init__(self, wide: float, tall: float) -> None:
        self.wide, self.tall = wide, tall
        self.lines: list[Line] = []
        self._bands: list[tuple[list[Point], str, float]] = []
        self._strokes: dict[tuple[str, float, float], list[list[Point]]] = defaultdict(list)
        self._curves: list[tuple[list[Point], Look, float]] = []
        self._marks: dict[tuple[Look, bool, float], list[Point]] = defaultdict(list)

    def add(self, sketch: Sketch, left: float = 0.0, top: float = 0.0) -> None:
        """Everything of a sketch, its corner at (left, top)."""

        def moved(points: Iterable[Point]) -> list[Point]:
            return [(left + x, top + y) for x, y in points]

        self._bands += [(moved(it), color, alpha) for it, color, alpha in sketch.bands]
        for line, color, thick, alpha in sketch.lines:
            self._strokes[color, thick, alpha].append(moved(line))
        for it in sketch.curves:
            points = moved(it.points)
            self._curves.append((points, it.look, it.thick))
            self._marks[it.look, False, 4 + it.thick].append(points[it.marked])
        for dot in sketch.dots:
            self._marks[dot.look, dot.hollow, DOT] += moved([(dot.x, dot.y)])
        for text in sketch.texts:
            self.lines.append(
                line_of(
                    text.text,
                    left + text.x + text.dx,
                    top + text.y,
                    ha=text.ha,
                    va=text.va,
                    size=text.size,
                    weight=text.weight,
                    color=text.color,
                    rotation=text.rotation,
                )
            )

    def drawn(self) -> tuple[bytes, str]:
        """The sheet as PNG and as SVG, the letters of both as outlines: neither needs a font."""
        png, svg = io.BytesIO(), io.StringIO()
        with mpl.rc_context():
            # Whatever a user's matplotlibrc says, the files are the same.
            mpl.rcdefaults()
            mpl.rcParams.update({"lines.scale_dashes": False, "svg.hashsalt": "samestep"})
            figure = Figure(figsize=(self.wide, self.tall), dpi=DPI, facecolor="white")
            sheet = FigureCanvasAgg(figure)
            inches = Affine2D().scale(1, -1).translate(0, self.tall) + figure.dpi_scale_trans
            letters = list(self._letters())
            for it in (*self._shapes(inches), *letters):
                if not it.is_transform_set():
                    it.set_transform(inches)
                figure.add_artist(it)
            # Neither the date nor the version of matplotlib belongs into a file that may be
            # compared.
            _pixels(sheet, self._colors()).save(
                png, "png", dpi=(DPI, DPI), compress_level=COMPRESSION
            )
            for it in letters:
                it.set_visible(False)
            figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        head, end, tail = svg.getvalue().rpartition("</svg>")
        return png.getvalue(), head + "".join(self._lettered()) + end + tail

    def _colors(self) -> Iterator[str]:
        yield from (color for _, color, _ in self._bands)
        yield from (color for color, _, _ in self._strokes)
        yield from (look.color for _, look, _ in self._curves)
        yield from (look.color for look, _, _ in self._marks)
        yield from (it.color for it in self.lines)

    def _shapes(self, inches: Transform) -> Iterator[Artist]:
        yield PolyCollection(
            [it for it, _, _ in self._bands],
            facecolors=[to_rgba(color, alpha) for _, color, alpha in self._bands],
            edgecolors="none",
            zorder=0,
        )
        for (color, thick, alpha), paths in self._strokes.items():
            codes = [code for it in paths for code in (Path.MOVETO, *[Path.LINETO] * (len(it) - 1))]
            path = Path([point for it in paths for point in it], codes)
            how = {"edgecolor": to_rgba(color, alpha), "linewidth": thick, "zorder": 1}
            yield PathPatch(path, fill=False, capstyle="butt", **how)
        yield LineCollection(
            [it[0] for it in self._curves],
            colors=[look.color for _, look, _ in self._curves],
            linewidths=[thick for _, _, thick in self._curves],
            linestyles=[(0, it.dashes) if it.dashes else "solid" for _, it, _ in self._curves],
            zorder=2,
        )
        for (look, hollow, size), points in self._marks.items():
            style = MarkerStyle(look.marker)
            yield PathCollection(
                [style.get_path().transformed(style.get_transform())],
                sizes=[size**2],
                facecolors="white" if hollow else look.color,
                edgecolors=look.color if hollow else "white",
                linewidths=1.6 if hollow else 0.8,
                offsets=points,
                offset_transform=inches,
                transform=IdentityTransform(),
                zorder=3,
            )

    def _letters(self) -> Iterator[PathPatch]:
        """All letters of one colour as one shape, below what they stand beside."""
        colors: dict[str, list[Line]] = defaultdict(list)
        for it in self.lines:
            colors[it.color].append(it)
        for color, lines in colors.items():
            codes = np.concatenate([outline(it.text, it.weight)[1] for it in lines])
            if len(codes):
                path = Path(np.concatenate([_placed(it) for it in lines]), codes)
                yield PathPatch(path, facecolor=color, linewidth=0, zorder=4)

    def _lettered(self) -> Iterator[str]:
        """The letters as SVG: each outline once, then where it stands; 72 units to the inch."""
        letters = {(one, line.weight) for line in self.lines for one in line.text}
        paths = {it: _path(*it) for it in sorted(letters)}
        names = {it: f"letter-{n}" for n, it in enumerate(filter(paths.get, paths), start=1)}
        yield "<defs>\n"
        for it, name in names.items():
            yield f'<path id="{name}" d="{paths[it]}"/>\n'
        yield "</defs>\n"
        for line in self.lines:
            scale = line.size / EM
            turned = f" rotate({-line.rotation:g})" if line.rotation else ""
            yield (
                f'<g fill="{line.color}" transform="translate({72 * line.x:.2f} {72 * line.y:.2f})'
                f'{turned} scale({scale:g} {-scale:g})">'
            )
            for one, (_, along) in zip(line.text, placed(line.text, line.weight), strict=True):
                if (one, line.weight) in names:
                    name = names[one, line.weight]
                    yield f'<use xlink:href="#{name}" x="{along:.1f}"/>'
            yield "</g>\n"


def _pixels(sheet: FigureCanvasAgg, colors: Iterable[str]) -> Image.Image:
    """What is drawn, in as few colours as it needs: a third of the bytes, in half of the time.

    White and each colour that was drawn with are exactly themselves; what lies between them is
    the edge of a letter or a line.
    """
    sheet.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(sheet.buffer_rgba())  # type: ignore[no-untyped-call]
    palette = Image.new("P", (1, 1))
    palette.putpalette(_shades(colors).tobytes())
    image = Image.fromarray(pixels).convert("RGB")
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _shades(colors: Iterable[str]) -> NDArray[np.uint8]:
    """White, every colour, and its steps towards white; at most 256, a row each."""
    pure = np.array([to_rgb(it) for it in sorted(set(colors))]).reshape(-1, 3)[:MOST]
    steps = np.linspace(1, 0, (256 - 1) // max(len(pure), 1), endpoint=False)[:, None, None]
    shades = (255 * (1 - (1 - pure) * steps)).round().reshape(-1, 3)
    # Nothing is so near to white that white could be taken for it.
    own = np.arange(len(shades)) < len(pure)
    shades = shades[own | (shades.min(axis=1) < LIGHTEST)]
    return np.vstack([[[255, 255, 255]], shades]).astype(np.uint8)


def _placed(line: Line) -> NDArray[np.float64]:
    """The vertices of its letters on the sheet."""
    x, y = (line.size / EM / 72 * outline(line.text, line.weight)[0]).T
    if line.rotation:
        x, y = -y, x
    return np.column_stack([line.x + x, line.y - y])


@functools.lru_cache(maxsize=4096)
def _path(letter: str, weight: Weight) -> str:
    """An outline in the commands of SVG."""
    commands: list[str] = []
    number, (vertices, codes, _) = 0, glyph(letter, weight)
    while number < len(codes):
        code = np.uint8(codes[number])
        if code == Path.CLOSEPOLY:
            commands.append("z")
            number += 1
            continue
        count = {Path.MOVETO: 1, Path.LINETO: 1, Path.CURVE3: 2, Path.CURVE4: 3}[code]
        letter = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}[code]
        points = vertices[number : number + count]
        commands.append(letter + " ".join(f"{x:.4g} {y:.4g}" for x, y in points))
        number += count
    return "".join(commands)
