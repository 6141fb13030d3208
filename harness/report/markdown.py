"""The content of a report → Markdown that renders well on a code host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.report.advice_text import Choice
from harness.report.chart import Chart
from harness.report.columns import Column, Grid, Section
from harness.report.compose import Content, Trouble
from harness.report.format import Value
from harness.report.safe_text import cell, code, fenced, prose

_ALIGN = {"name": ":--", "text": ":--", "number": "--:"}
_WRITE: dict[str, Callable[[str], str]] = {"name": code, "text": prose, "number": str}


def render_markdown(content: Content, charts: Sequence[Chart]) -> str:
    """The whole report; these charts are linked as files of `figures/`."""
    return "\n\n".join(it for it in _parts(content, charts) if it) + "\n"


def _parts(content: Content, charts: Sequence[Chart]) -> Iterator[str]:
    yield f"# {prose(content.title)}"
    yield prose(content.byline)
    yield prose(content.question)
    yield "## In short"
    yield "\n".join(_verdict(it) for it in (*content.speed, *content.quality))
    if not content.speed and not content.quality:
        yield "No trial ended well, so there is nothing to compare."
    yield "\n".join(f"- **{prose(name)}:** {prose(text)}" for name, text in content.facts)
    if content.choices:
        yield "## Which should I choose?"
        yield "\n".join(_choice(it) for it in content.choices)
    for title, name, sections in (
        ("Speed", "speed", content.speed),
        ("Idiom", "idioms", content.idioms),
        ("Over all tasks", "means", content.means),
        ("Quality", "quality", content.quality),
        ("Phase times", "phases", content.phases),
        ("Memory", "memory", content.memory),
        ("Sameness", "sameness", content.sameness),
        ("Effective settings", "settings", content.settings),
        ("Noise", "noise", content.noise),
    ):
        if sections:
            yield f"## {title}"
            yield from (_figure(it) for it in charts if it.section == name)
            for section in sections:
                yield from _section(section)
    if content.troubles or content.left_out:
        yield "## Failures and what was left out"
        for trouble in content.troubles:
            yield from _trouble(trouble)
        yield "\n".join(f"- {code(it)}: {prose(reason)}" for it, reason in content.left_out)
    yield "## Method"
    yield "\n".join(f"- **{prose(name)}.** {prose(text)}" for name, text in content.method)
    yield from _repeat(content)


def _verdict(section: Section) -> str:
    where = f" ({prose(section.place)})" if section.place else ""
    return f"- {code(section.task)} {section.phase}{where}: **{prose(section.lead)}**"


def _choice(choice: Choice) -> str:
    tables = ", ".join(f"[{prose(text)}](#{anchor})" for anchor, text in choice.anchors)
    evidence = f" See {tables}." if tables else ""
    answer = f"**{prose(choice.answer)}.** {prose(choice.because)}"
    return f"- {prose(choice.scenario)}: {answer}{evidence}"


def _figure(chart: Chart) -> str:
    alt = prose(f"{chart.title}. {chart.alt}")
    return f"[![{alt}](figures/{chart.name}.png)](figures/{chart.name}.svg)"


def _section(section: Section) -> Iterator[str]:
    where = f", {prose(section.place)}" if section.place else ""
    yield f'### <a id="{section.anchor}"></a>{code(section.task)} {section.phase}{where}'
    yield prose(section.lead)
    content = [table(section.grid), *map(prose, section.notes)]
    yield from _folded(section.folded, *content) if section.folded else content


def _folded(title: str, *content: str) -> tuple[str, ...]:
    return (f"<details><summary>{prose(title)}</summary>", *content, "</details>")


def table(grid: Grid) -> str:
    head = " | ".join(cell(prose(column.title)) for column in grid.columns)
    rule = " | ".join(_ALIGN[column.side] for column in grid.columns)
    rows = (
        " | ".join(_value(it, column) for it, column in zip(row, grid.columns, strict=True))
        for row in grid.rows
    )
    return "\n".join(f"| {it} |" for it in (head, rule, *rows))


def _value(value: Value, column: Column[Any]) -> str:
    text = _WRITE[column.side](value.text)
    detail = prose(value.detail)
    if column.side == "name" and detail:
        detail = f"**{detail}**"
    return cell(f"{text} {detail}".strip())


def _trouble(trouble: Trouble) -> Iterator[str]:
    yield f"### {code(trouble.label)} on {code(trouble.task)}: {trouble.status}"
    error = f": {code(trouble.error)}" if trouble.error else ""
    yield f"{prose(trouble.place)}; {trouble.trials}{error}"
    if trouble.tail:
        yield from _folded("The end of its stderr", fenced(trouble.tail))


def _repeat(content: Content) -> Iterator[str]:
    yield "## To repeat this run"
    yield fenced(content.command)
    yield (
        f"Commit {code(content.commit)}. Raw numbers: [results.csv](results.csv), "
        "[trainings.csv](trainings.csv) and [run.json](run.json)."
    )
    for title, grid in content.environment:
        yield f"### {prose(title)}"
        yield table(grid)
    yield from _folded("The whole configuration", fenced(content.config))
