"""The report as one HTML page that needs nothing else: pictures first, tables behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lrae.experiments.replay.report_style import Picture, style_css

CSS = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:16px;font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:#fff}
@media(prefers-color-scheme:dark){body{background:#131316}}
h1{font-size:1.5rem;line-height:1.2}
h2{font-size:1.15rem;margin:2.2em 0 .6em;border-top:1px solid var(--grid);padding-top:.8em}
.lead{font-size:1.1rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:20px}
h3{font-size:.95rem;margin:0 0 .4em}
figure{margin:0;min-width:0}
.wide{grid-column:1/-1}
figure img,figure svg{display:block;width:100%;height:auto}
figcaption{font-size:.82rem;color:var(--faint)}
code{font-size:.92em;overflow-wrap:anywhere}
.scroll{overflow-x:auto;max-height:32rem}
table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.25em .7em;text-align:left;border-bottom:1px solid var(--grid)}
th{color:var(--faint);font-weight:600}
summary{cursor:pointer;margin:.6em 0}
.wide .plot{overflow-x:auto}
.wide .plot{max-width:940px}
.wide svg{min-width:640px}
.wide .narrow svg{min-width:0}
.narrow{display:none}
@media(max-width:700px){.narrow{display:block}.broad{display:none}}
.stills{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,260px),1fr));gap:8px}
.note{color:var(--faint)}
"""


@dataclass(frozen=True)
class Section:
    """A heading, its pictures, paragraphs, and tables (title, rows) that open on a click."""

    title: str
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    tables: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()


def render(title: str, lead: Sequence[str], sections: Sequence[Section], command: str) -> str:
    """The page. lead: sentences at its head. command: what made it, named under every picture."""
    shown = [section for section in sections if section.pictures or section.notes or section.tables]
    body = "\n".join(_section(section, command) for section in shown)
    sentences = "".join(f"<p class=lead>{escape(text)}</p>" for text in lead)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        '<meta name=color-scheme content="light dark">'
        f"<title>{escape(title)}</title><style>{style_css()}{CSS}</style></head>"
        f"<body><h1>{escape(title)}</h1>{sentences}\n{body}\n</body></html>\n"
    )


def _section(section: Section, command: str) -> str:
    figures = "".join(_figure(picture, command) for picture in section.pictures)
    notes = "".join(f"<p class=note>{escape(text)}</p>" for text in section.notes)
    tables = "".join(_details(title, rows) for title, rows in section.tables if len(rows) > 1)
    return f"<section><h2>{escape(section.title)}</h2><div class=grid>{figures}</div>{notes}{tables}</section>"


def _figure(picture: Picture, command: str) -> str:
    kind = " class=wide" if picture.wide else ""
    caption = f"{escape(picture.caption)} Made by <code>{escape(command)}</code>."
    plot = picture.svg.replace('role="img"', f'role="img" aria-label="{escape(picture.title)}"', 1)
    body = f"<div class=plot>{plot}</div><figcaption>{caption}</figcaption>"
    return f"<figure{kind}><h3>{escape(picture.title)}</h3>{body}</figure>"


def _details(title: str, rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    cells = "".join(f"<th>{escape(text)}</th>" for text in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rest)
    return (
        f"<details><summary>{escape(title)}</summary><div class=scroll><table>"
        f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div></details>"
    )
