"""Short texts and HTML tables of objects, for a Python prompt and for notebooks."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

TEXT_MAX, FACT_MAX, CELL_MAX = 900, 240, 60
ROWS_BYTES = 10_000
HEAD_SHARE = 0.75
NAMED_MAX = 6
TEMPLATE = """\
<div><p><b>{{ title }}</b></p>
<ul>{% for fact in facts %}<li>{{ fact }}</li>{% endfor %}</ul>
{% if header %}<table><thead><tr>{% for cell in header %}<th>{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in head %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}{% if omitted %}<tr><td colspan="{{ header|length }}">... {{ omitted }} more rows ...</td></tr>
{% endif %}{% for row in tail %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>{% endif %}</div>"""


@dataclass(frozen=True)
class Summary:
    """Title, facts of a few words each, and table that show an object.

    However much an object holds, its text has less than 1,000 characters and its HTML less than 20,000 bytes: what is
    too long is cut, and what is left out is said.
    """

    title: str
    facts: Sequence[str]
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()

    def text(self) -> str:
        """Return title and facts on one line."""
        return f"<{clipped(f'{self.title}: ' + '; '.join(self.facts), TEXT_MAX)}>"

    def html(self) -> str:
        """Return title, facts and table; of many rows the first and the last ones."""
        from jinja2 import Environment

        rows = [[clipped(str(cell), CELL_MAX) for cell in row] for row in self.rows]
        head, omitted, tail = _fitting(rows)
        facts = [clipped(fact, FACT_MAX) for fact in self.facts]
        template = Environment(autoescape=True).from_string(TEMPLATE)
        return template.render(title=self.title, facts=facts, header=self.header, head=head, omitted=omitted, tail=tail)


class Shown(ABC):
    """Mixin that shows an object by its `summary` (declare dataclasses with ``repr=False``)."""

    @abstractmethod
    def summary(self) -> Summary:
        """Return what is shown of the object."""

    def __repr__(self) -> str:
        return self.summary().text()

    def _repr_html_(self) -> str:
        return self.summary().html()


def clipped(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters.

    >>> clipped("a network of many layers", 13)
    'a network ...'
    """
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def named(names: Sequence[str]) -> str:
    """Return names with commas: of many, the first ones and the last one.

    >>> named([f"layer{index}" for index in range(99)])
    'layer0, layer1, layer2, layer3, layer4, ... 93 more ..., layer98'
    """
    short = [clipped(name, CELL_MAX) for name in names]
    if len(short) <= NAMED_MAX:
        return ", ".join(short)
    return ", ".join([*short[: NAMED_MAX - 1], f"... {len(short) - NAMED_MAX} more ...", short[-1]])


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "sample"), counted(20_000, "sample")
    ('1 sample', '20,000 samples')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _fitting(rows: list[list[str]]) -> tuple[list[list[str]], int, list[list[str]]]:
    """Return the first rows, the number of those left out, and the last rows."""
    sizes = [sum(len(html.escape(cell).encode()) + len("<td></td>") for cell in row) + len("<tr></tr>") for row in rows]
    if sum(sizes) <= ROWS_BYTES:
        return rows, 0, []
    first = _first(sizes, int(ROWS_BYTES * HEAD_SHARE))
    last = _first(sizes[::-1], ROWS_BYTES - int(ROWS_BYTES * HEAD_SHARE))
    return rows[:first], len(rows) - first - last, rows[len(rows) - last :]


def _first(sizes: list[int], limit: int) -> int:
    """Return how many of the first sizes have a sum within the limit."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if total > limit:
            return number
    return len(sizes)
