"""Hyperparameters as a table, to read in a terminal or a notebook, or as a data frame."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from nbopt.errors import unknown
from nbopt.formatting import number
from nbopt.hyperparams.declarations import Hyperparam, synonyms_of
from nbopt.i18n import _

# Characters that a cell of the text takes at most; what is longer goes on below.
_WIDTHS = {"name": 17, "now": 13, "default": 13, "range": 22, "legal": 22, "group": 14, "help": 36}

Row = Mapping[str, Any]


class HyperparamTable(Mapping[str, Row]):
    """Declarations by name, in the order of the panel; shows itself as a table.

    Parameters
    ----------
    specs : iterable of Hyperparam
    now : mapping of str to Any, optional
        Live values. Without them, the column is left out.

    Examples
    --------
    >>> import nbopt
    >>> nbopt.hyperparams()["lr"]["default"]
    0.001
    """

    def __init__(self, specs: Iterable[Hyperparam[Any]], now: Mapping[str, Any] | None = None) -> None:
        titles = {
            "name": _("name"),
            "now": _("now"),
            "default": _("default"),
            "range": _("range"),
            "legal": _("legal"),
            "group": _("group"),
            "help": _("help"),
        }
        self._titles = {column: title for column, title in titles.items() if column != "now" or now is not None}
        specs = list(specs)
        self._synonyms = synonyms_of(specs)
        self._rows: dict[str, Row] = {}
        for spec in specs:
            cells = {
                "name": spec.name,
                "now": (now or {}).get(spec.name),
                "default": spec.default,
                "range": spec.offered,
                "legal": spec.legal,
                "group": spec.group,
                "help": spec.help,
            }
            self._rows[spec.name] = MappingProxyType({column: cells[column] for column in self._titles})

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            raise unknown(_("hyperparameter"), name, self._rows, self._synonyms)
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        rows = [[textwrap.wrap(text, _WIDTHS[name]) or [""] for name, text in row.items()] for row in self._texts()]
        widths = [max(len(line) for cell in column for line in cell) for column in zip(*rows, strict=True)]
        lines = (line for row in rows for line in zip_longest(*row, fillvalue=""))
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """Return the table for a notebook, whose style sheet alone decides on colours."""
        head, *rows = ([html.escape(text) for text in row.values()] for row in self._texts())
        style = 'style="text-align: left; vertical-align: top"'
        titles = "".join(f"<th {style}>{text}</th>" for text in head)
        body = "".join(f"<tr>{''.join(f'<td {style}>{text}</td>' for text in row)}</tr>" for row in rows)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per hyperparameter, values as they are."""
        import pandas as pd

        rows = [dict(row) for row in self.values()]
        return pd.DataFrame(rows, columns=list(self._titles), dtype=object).set_index("name")

    def _texts(self) -> Iterator[dict[str, str]]:
        """Yield the head and the rows, by column."""
        yield self._titles
        for row in self.values():
            yield {column: number(row[column]) for column in self._titles}
