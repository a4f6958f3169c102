"""The shell of a report: one self-contained HTML page, readable without a network, a mouse, colours or a wide window."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from g2rpo.lab.report.figures import Figure

STYLE = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Section:
    """A part of the page with a place in its table of contents. `body` is HTML."""

    id: str
    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page. `title` and `lead` are text; sections without a body are left out."""
    shown = [s for s in sections if s.body]
    links = "".join(f'<li><a href="#{s.id}">{text(s.title)}</a></li>' for s in shown)
    parts = "".join(
        f'<section id="{s.id}" aria-labelledby="{s.id}-title"><h2 id="{s.id}-title">{text(s.title)}</h2>{s.body}</section>\n'
        for s in shown
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title><link rel="icon" href="data:,"><style>{STYLE.read_text()}</style></head><body>
<a class="skip" href="#main">Skip to the content</a>
<header><h1>{text(title)}</h1><p>{text(lead)}</p><nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main id="main">
{parts}</main>
<footer><p>Made by g2rpo from the files of the runs; the same files give the same page.</p></footer>
</body></html>
"""


def text(value: object) -> str:
    return html.escape(str(value))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, prose: Sequence[int] = ()) -> str:
    """A table whose first column names its rows; cells are HTML. Wide ones scroll by themselves, by keyboard too.

    Args:
        prose: Columns that hold words, not figures.
    """
    top = "".join(f'<th scope="col">{text(h)}</th>' for h in head)
    lines = []
    for row in rows:
        cells = "".join(f"<td{' class=text' if i in prose else ''}>{c}</td>" for i, c in enumerate(row[1:], 1))
        lines.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(caption)}"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def figure(drawn: Figure) -> str:
    """The drawing with its caption; its description is what a screen reader says."""
    return f"<figure>{drawn.svg}<figcaption>{text(drawn.caption)}</figcaption></figure>"


def figures(drawn: Sequence[Figure]) -> str:
    return f'<div class="figures">{"".join(map(figure, drawn))}</div>' if drawn else ""


def facts(values: Mapping[str, object]) -> str:
    """Names and values, one under the other."""
    return "<dl>" + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in values.items()) + "</dl>"


def folded(title: str, body: str) -> str:
    return f"<details><summary>{text(title)}</summary>{body}</details>"
