"""A sheet as SVG, 72 units to the inch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from matplotlib.path import Path
from numpy.typing import NDArray

from harness.report.canvas import HALO, POINTS, Canvas, ink, shape_of
from harness.report.letters import EM, Weight, glyph, placed
from harness.report.sketch import Point

COMMANDS = {
    Path.MOVETO: ("M", 1),
    Path.LINETO: ("L", 1),
    Path.CURVE3: ("Q", 2),
    Path.CURVE4: ("C", 3),
}
"""Of matplotlib's codes: the letter of SVG, and how many points follow it."""


def svg(sheet: Canvas) -> str:
    """The letters are drawn as outlines, which need no font. Neither date nor program is told:
    files may be compared."""
    return "".join((*_head(sheet), *_lined(sheet), *_marked(sheet), *_lettered(sheet), "</svg>\n"))


def _head(sheet: Canvas) -> Iterator[str]:
    wide, tall = f"{POINTS * sheet.wide:g}", f"{POINTS * sheet.tall:g}"
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    yield f'width="{wide}pt" height="{tall}pt" viewBox="0 0 {wide} {tall}" '
    yield 'stroke-linejoin="round">\n'
    yield f'<rect width="{wide}" height="{tall}" fill="white"/>\n'


def _lined(sheet: Canvas) -> Iterator[str]:
    for (color, alpha), areas in sheet.bands.items():
        yield f'<path d="{_joined(areas, "z")}" fill="{color}" fill-opacity="{alpha:g}"/>\n'
    for (color, thick, alpha), lines in sheet.strokes.items():
        stroke = f'stroke="{color}" stroke-width="{thick:g}" stroke-opacity="{alpha:g}"'
        yield f'<path d="{_joined(lines)}" fill="none" {stroke}/>\n'
    for (look, thick), lines in sheet.curves.items():
        dashes = " ".join(f"{it:g}" for it in look.dashes) or "none"
        stroke = f'stroke="{look.color}" stroke-width="{thick:g}" stroke-dasharray="{dashes}"'
        yield f'<path d="{_joined(lines)}" fill="none" {stroke}/>\n'


def _joined(lines: Iterable[Sequence[Point]], end: str = "") -> str:
    """All of them as one path, a row each."""
    return "\n".join(
        "M" + "L".join(f"{POINTS * x:.2f} {POINTS * y:.2f}" for x, y in line) + end
        for line in lines
    )


def _marked(sheet: Canvas) -> Iterator[str]:
    """Each shape once, then where it stands."""
    for n, ((look, hollow, size), points) in enumerate(sheet.marks.items(), start=1):
        edge, face, thick = ink(look, hollow)
        shape = shape_of(look.marker, size)
        outline = _commands(np.asarray(shape.vertices) * (1, -1), np.asarray(shape.codes))
        yield f'<defs><path id="mark-{n}" d="{outline}"/></defs>\n'
        yield f'<g fill="{face}" stroke="{edge}" stroke-width="{thick:g}">\n'
        for x, y in points:
            yield f'<use xlink:href="#mark-{n}" x="{POINTS * x:.2f}" y="{POINTS * y:.2f}"/>\n'
        yield "</g>\n"


def _lettered(sheet: Canvas) -> Iterator[str]:
    """Each outline once, then where it stands."""
    letters = {(one, line.weight) for line in sheet.lines for one in line.text}
    paths = {it: _path(*it) for it in sorted(letters)}
    names = {it: f"letter-{n}" for n, it in enumerate(filter(paths.get, paths), start=1)}
    crossed = set(sheet.crossed())
    yield "<defs>\n"
    for it, name in names.items():
        yield f'<path id="{name}" d="{paths[it]}"/>\n'
    yield "</defs>\n"
    for line in sheet.lines:
        scale = line.size / EM
        turned = f" rotate({-line.rotation:g})" if line.rotation else ""
        thick = f'stroke="white" stroke-width="{HALO / scale:.4g}" paint-order="stroke" '
        yield (
            f'<g fill="{line.color}" {thick if line in crossed else ""}'
            f'transform="translate({POINTS * line.x:.2f} {POINTS * line.y:.2f})'
            f'{turned} scale({scale:g} {-scale:g})">'
        )
        for one, (_, along) in zip(line.text, placed(line.text, line.weight), strict=True):
            if (one, line.weight) in names:
                name = names[one, line.weight]
                yield f'<use xlink:href="#{name}" x="{along:.1f}"/>'
        yield "</g>\n"


@functools.lru_cache(maxsize=4096)
def _path(letter: str, weight: Weight) -> str:
    vertices, codes, _ = glyph(letter, weight)
    return _commands(vertices, codes)


def _commands(vertices: NDArray[np.float64], codes: NDArray[np.uint8]) -> str:
    """An outline in the commands of SVG."""
    commands: list[str] = []
    number = 0
    while number < len(codes):
        code = np.uint8(codes[number])
        if code == Path.CLOSEPOLY:
            commands.append("z")
            number += 1
            continue
        command, count = COMMANDS[code]
        points = vertices[number : number + count]
        commands.append(command + " ".join(f"{x:.4g} {y:.4g}" for x, y in points))
        number += count
    return "".join(commands)
