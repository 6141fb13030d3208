"""Sketches side by side on one sheet, drawn with matplotlib as PNG and SVG.

Straight to matplotlib's renderers, all that is alike on a sheet in one call: with figures and axes
of matplotlib's it would take a hundred times as long.
"""

from __future__ import annotations

import functools
import io
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from PIL import Image

from harness.report.letters import EM, Line, Weight, glyph, line_of, outline, placed
from harness.report.looks import FAINT, Look
from harness.report.sketch import Point, Sketch

DPI = 150
POINTS = 72
"""To the inch; SVG's units."""
LIGHTEST, MOST = 240, 40
"""Of the shades in a PNG, and the colours that have any."""
DOT, HALO = 6.5, 2.25
"""Points."""
WHITE = 0xFFFFFFFF
"""The four bytes of a pixel of the ground."""
COMPRESSION: dict[str, Any] = {"compress_level": 3, "compress_type": zlib.Z_FILTERED}
"""Of PNG: less than a third of the time of the default for a few more bytes."""

SETTINGS: dict[Any, Any] = {
    "agg.path.chunksize": 0,
    "path.simplify": True,
    "path.simplify_threshold": 1 / 9,
    "path.sketch": None,
    "path.snap": True,
    "svg.hashsalt": "samestep",
    "svg.id": None,
}
"""All that the renderers read of them: whatever a user's matplotlibrc says, files are the same."""

Color: TypeAlias = tuple[float, float, float, float]
Renderer: TypeAlias = Any  # matplotlib's, which have no types


class Canvas:
    """A sheet of `wide` × `tall` inches, in whole pixels; x goes right and y goes down."""

    def __init__(self, wide: float, tall: float) -> None:
        self.wide, self.tall = (math.ceil(round(it * DPI, 6)) / DPI for it in (wide, tall))
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
        with mpl.rc_context(SETTINGS):
            pixels: Renderer = RendererAgg(round(self.wide * DPI), round(self.tall * DPI), DPI)  # type: ignore[no-untyped-call]
            self._paint(pixels, DPI)
            self._paint_letters(pixels)
            # Neither the date nor the version of matplotlib belongs into a file that may be
            # compared.
            _reduced(pixels, self._colors()).save(png, "png", dpi=(DPI, DPI), **COMPRESSION)
            nothing = {"Date": None, "Creator": None}
            vectors: Renderer = RendererSVG(  # type: ignore[no-untyped-call]
                self.wide * POINTS, self.tall * POINTS, svg, metadata=nothing
            )
            self._paint(vectors, POINTS)
            vectors.finalize()
        head, end, tail = svg.getvalue().rpartition("</svg>")
        return png.getvalue(), head + "".join(self._lettered()) + end + tail

    def _colors(self) -> Iterator[str]:
        yield from (color for _, color, _ in self._bands)
        yield from (color for color, _, _ in self._strokes)
        yield from (look.color for _, look, _ in self._curves)
        yield from (look.color for look, _, _ in self._marks)
        yield from (it.color for it in self.lines)

    def _paint(self, to: Renderer, dpi: float) -> None:
        """All but letters, from the ground up."""
        inches = self._inches(dpi)
        whole = [(0.0, 0.0), (self.wide, 0.0), (self.wide, self.tall), (0.0, self.tall)]
        for points, color, alpha in [(whole, "white", 1.0), *self._bands]:
            to.draw_path(_pen(to), _polygon(points), inches, to_rgba(color, alpha))
        for (color, thick, alpha), paths in self._strokes.items():
            codes = [code for it in paths for code in (Path.MOVETO, *[Path.LINETO] * (len(it) - 1))]
            pen = _pen(to, to_rgba(color, alpha), thick)
            to.draw_path(pen, Path([point for it in paths for point in it], codes), inches)
        for points, look, thick in self._curves:
            to.draw_path(_pen(to, to_rgba(look.color), thick, look.dashes), Path(points), inches)
        for (look, hollow, size), points in self._marks.items():
            own, white = to_rgba(look.color), to_rgba("white")
            edge, face = (own, white) if hollow else (white, own)
            style = MarkerStyle(look.marker)
            scaled = style.get_transform() + Affine2D().scale(size * dpi / POINTS)
            pen = _pen(to, edge, 1.6 if hollow else 0.8)
            to.draw_markers(pen, style.get_path(), scaled, Path(points), inches, face)

    def _paint_letters(self, to: Renderer) -> None:
        """All letters of one colour as one shape, and below them the halo of some."""
        colors: dict[str, list[Line]] = defaultdict(list)
        for it in self.lines:
            colors[it.color].append(it)
        inches = self._inches(DPI)
        if (halos := _letters(self._crossed())) is not None:
            to.draw_path(_pen(to, to_rgba("white"), HALO), halos, inches)
        for color, lines in colors.items():
            if (letters := _letters(lines)) is not None:
                to.draw_path(_pen(to), letters, inches, to_rgba(color))

    def _crossed(self) -> list[Line]:
        """Texts that lie across a line on which marks are read: it would strike them through."""
        posts = [
            line
            for (color, _, _), strokes in self._strokes.items()
            if color == FAINT
            for line in strokes
        ]
        return [
            it
            for it in self.lines
            for (x, top), *_, (_, bottom) in posts
            if top < it.y < bottom and it.box.left < x < it.box.right
        ]

    def _inches(self, dpi: float) -> Affine2D:
        """From inches on the sheet to dots, whose y goes up."""
        return Affine2D().scale(1, -1).translate(0, self.tall).scale(dpi)

    def _lettered(self) -> Iterator[str]:
        """The letters as SVG: each outline once, then where it stands; 72 units to the inch."""
        letters = {(one, line.weight) for line in self.lines for one in line.text}
        paths = {it: _path(*it) for it in sorted(letters)}
        names = {it: f"letter-{n}" for n, it in enumerate(filter(paths.get, paths), start=1)}
        crossed = set(self._crossed())
        yield "<defs>\n"
        for it, name in names.items():
            yield f'<path id="{name}" d="{paths[it]}"/>\n'
        yield "</defs>\n"
        for line in self.lines:
            scale = line.size / EM
            turned = f" rotate({-line.rotation:g})" if line.rotation else ""
            thick = f'stroke="white" stroke-width="{HALO / scale:.4g}" paint-order="stroke" '
            yield (
                f'<g fill="{line.color}" {thick if line in crossed else ""}'
                f'transform="translate({72 * line.x:.2f} {72 * line.y:.2f})'
                f'{turned} scale({scale:g} {-scale:g})">'
            )
            for one, (_, along) in zip(line.text, placed(line.text, line.weight), strict=True):
                if (one, line.weight) in names:
                    name = names[one, line.weight]
                    yield f'<use xlink:href="#{name}" x="{along:.1f}"/>'
            yield "</g>\n"


def _pen(
    to: Renderer, color: Color = (0, 0, 0, 0), thick: float = 0, dashes: Sequence[float] = ()
) -> Any:
    """What draws lines; nothing, if it is not thick."""
    pen = to.new_gc()
    pen.set_foreground(color, isRGBA=True)
    pen.set_linewidth(thick)
    if dashes:
        pen.set_dashes(0, dashes)
    return pen


def _polygon(points: Sequence[Point]) -> Path:
    return Path([*points, points[0]], closed=True)


def _reduced(drawn: Renderer, colors: Iterable[str]) -> Image.Image:
    """What is drawn, in as few colours as it needs: a third of the bytes, in half of the time.

    White and each colour that was drawn with are exactly themselves; what lies between them is
    the edge of a letter or a line.
    """
    pixels = np.asarray(drawn.buffer_rgba())
    palette = Image.new("P", (1, 1))
    palette.putpalette(_shades(colors).tobytes())
    # Most of a sheet is white, the first colour: only the rest is looked up.
    whole = pixels.view(np.uint32).ravel()
    inked = np.flatnonzero(whole != WHITE)
    ink = Image.fromarray(whole[inked].view(np.uint8).reshape(1, -1, 4)).convert("RGB")
    found = np.zeros(whole.shape, np.uint8)
    found[inked] = np.asarray(ink.quantize(palette=palette, dither=Image.Dither.NONE))[0]
    image = Image.fromarray(found.reshape(pixels.shape[:2]))
    image.putpalette(palette.getpalette() or [])
    return image


def _shades(colors: Iterable[str]) -> NDArray[np.uint8]:
    """White, every colour, and its steps towards white; at most 256, a row each."""
    pure = np.array([to_rgb(it) for it in sorted(set(colors))]).reshape(-1, 3)[:MOST]
    steps = np.linspace(1, 0, (256 - 1) // max(len(pure), 1), endpoint=False)[:, None, None]
    shades = (255 * (1 - (1 - pure) * steps)).round().reshape(-1, 3)
    # Nothing is so near to white that white could be taken for it.
    own = np.arange(len(shades)) < len(pure)
    shades = shades[own | (shades.min(axis=1) < LIGHTEST)]
    return np.vstack([[[255, 255, 255]], shades]).astype(np.uint8)


def _letters(lines: Sequence[Line]) -> Path | None:
    """The outlines of all their letters; None where there is none."""
    codes = [outline(it.text, it.weight)[1] for it in lines]
    if not any(map(len, codes)):
        return None
    return Path(np.concatenate([_placed(it) for it in lines]), np.concatenate(codes))


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
