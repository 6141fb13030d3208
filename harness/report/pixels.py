"""A sheet as PNG, drawn with matplotlib.

Straight to its renderer, all that is alike on a sheet in one call: with figures and axes of
matplotlib's it would take a hundred times as long.
"""

from __future__ import annotations

import io
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from PIL import Image

from harness.report.canvas import HALO, POINTS, Canvas, ink, shape_of
from harness.report.letters import EM, Line, outline
from harness.report.sketch import Point

LIGHTEST, MOST = 240, 40
"""Of the shades in a PNG, and the colours that have any."""
WHITE = 0xFFFFFFFF
"""The four bytes of a pixel of the ground."""
COMPRESSION: dict[str, Any] = {"compress_level": 3, "compress_type": zlib.Z_FILTERED}
"""Less than a third of the time of the default for a few more bytes."""

SETTINGS: dict[Any, Any] = {
    "agg.path.chunksize": 0,
    "path.simplify": True,
    "path.simplify_threshold": 1 / 9,
    "path.sketch": None,
    "path.snap": True,
}
"""All that the renderer reads of them: whatever a user's matplotlibrc says, files are the same."""

Color: TypeAlias = tuple[float, float, float, float]
Renderer: TypeAlias = Any  # matplotlib's, which have no types


def png(sheet: Canvas) -> bytes:
    """The letters are drawn as outlines, which need no font."""
    drawn, dpi = io.BytesIO(), sheet.dpi
    with mpl.rc_context(SETTINGS):
        to: Renderer = RendererAgg(round(sheet.wide * dpi), round(sheet.tall * dpi), dpi)  # type: ignore[no-untyped-call]
        np.asarray(to.buffer_rgba())[:] = 255  # white and opaque
        # From inches on the sheet to dots, whose y goes up.
        inches = Affine2D().scale(1, -1).translate(0, sheet.tall).scale(dpi)
        _paint_lines(sheet, to, inches)
        _paint_marks(sheet, to, inches)
        _paint_letters(sheet, to, inches)
        _reduced(to, sheet.colors()).save(drawn, "png", dpi=(dpi, dpi), **COMPRESSION)
    return drawn.getvalue()


def _paint_lines(sheet: Canvas, to: Renderer, inches: Affine2D) -> None:
    for (color, alpha), areas in sheet.bands.items():
        whole = _joined([[*it, it[0]] for it in areas])
        to.draw_path(_pen(to), whole, inches, to_rgba(color, alpha))
    for (color, thick, alpha), lines in sheet.strokes.items():
        to.draw_path(_pen(to, to_rgba(color, alpha), thick), _joined(lines), inches)
    for (look, thick), lines in sheet.curves.items():
        pen = _pen(to, to_rgba(look.color), thick, look.dashes)
        to.draw_path(pen, _joined(lines), inches)


def _paint_marks(sheet: Canvas, to: Renderer, inches: Affine2D) -> None:
    larger = Affine2D().scale(sheet.dpi / POINTS)
    for (look, hollow, size), points in sheet.marks.items():
        edge, face, thick = ink(look, hollow)
        pen, shape = _pen(to, to_rgba(edge), thick), shape_of(look.marker, size)
        to.draw_markers(pen, shape, larger, Path(points), inches, to_rgba(face))


def _paint_letters(sheet: Canvas, to: Renderer, inches: Affine2D) -> None:
    """All letters of one colour as one shape, and below them the halo of some."""
    colors: dict[str, list[Line]] = defaultdict(list)
    for it in sheet.lines:
        colors[it.color].append(it)
    if (halos := _letters(sheet.crossed())) is not None:
        to.draw_path(_pen(to, to_rgba("white"), HALO), halos, inches)
    for color, lines in colors.items():
        if (letters := _letters(lines)) is not None:
            to.draw_path(_pen(to), letters, inches, to_rgba(color))


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


def _joined(lines: Iterable[Sequence[Point]]) -> Path:
    """All of them as one path, which is drawn in one call."""
    codes = [code for it in lines for code in (Path.MOVETO, *[Path.LINETO] * (len(it) - 1))]
    return Path([point for it in lines for point in it], codes)


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
    colored = Image.fromarray(whole[inked].view(np.uint8).reshape(1, -1, 4)).convert("RGB")
    found = np.zeros(whole.shape, np.uint8)
    found[inked] = np.asarray(colored.quantize(palette=palette, dither=Image.Dither.NONE))[0]
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
    x, y = (line.size / EM / POINTS * outline(line.text, line.weight)[0]).T
    if line.rotation:
        x, y = -y, x
    return np.column_stack([line.x + x, line.y - y])
