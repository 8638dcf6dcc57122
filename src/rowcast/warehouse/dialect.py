"""Statements in BigQuery's dialect: what they may do, and how DuckDB says it.

A statement is parsed, and only what is known to be harmless goes on: one query, or one change of
tables where changes are allowed. Tables are named ``dataset.table`` or ``project.dataset.table``;
functions that make tables of files or addresses are refused before the engine, which reaches
nothing either, sees them.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import InvalidRequest, PermissionDenied, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlglot import exp

MAX_STATEMENT = 1 << 20
FUNCTIONS = frozenset(
    {
        "acos",
        "acosh",
        "array_length",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "cbrt",
        "ceiling",
        "char_length",
        "character_length",
        "chr",
        "cosh",
        "div",
        "error",
        "ieee_divide",
        "instr",
        "is_inf",
        "is_nan",
        "left",
        "logical_and",
        "logical_or",
        "lpad",
        "ltrim",
        "mod",
        "normalize",
        "octet_length",
        "pow",
        "power",
        "printf",
        "regexp_instr",
        "repeat",
        "reverse",
        "right",
        "rpad",
        "rtrim",
        "safe_negate",
        "sinh",
        "string_agg",
        "tanh",
        "to_hex",
        "to_json",
        "to_json_string",
        "unicode",
    }
)
"""Functions that the parser has no word of its own for, and that are passed on."""
_REFUSED = re.compile(
    r"(?:Read|AI|ML)[A-Z].*|Predict|Secret|ToFile|Generate(?:Bool|Double|Int|Text|Table|Embedding)"
    r"|VectorSearch|FeaturesAtTime|DynamicIdentifier|NextValueFor|Columns|OpenJSON|(?:JSON|XML)Table"
    r"|Current(?:Database|Catalog|Schema|Schemas|User|Role|Version|Session)|SessionUser"
)
"""Parsed functions, by class, that reach beyond the tables or tell of what serves them."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Statement:
    """One statement, in the engine's dialect."""

    sql: str
    reads: bool
    """A query, which changes nothing."""
    tables: tuple[TableName, ...]
    datasets: tuple[DatasetName, ...] = ()
    """Those that the statement makes or removes."""

    @property
    def projects(self) -> tuple[str, ...]:
        """Every project that it names."""
        return tuple(
            dict.fromkeys([t.project for t in self.tables] + [d.project for d in self.datasets])
        )


def read_statement(text: str, project: str, dataset: str | None = None) -> Statement:
    """Read one statement.

    Parameters
    ----------
    text
        SQL in BigQuery's dialect.
    project
        Of tables that name none.
    dataset
        Of tables that name none.

    Raises
    ------
    InvalidRequest
        If it cannot be parsed, or is not one statement.
    PermissionDenied
        If it reaches for something else than tables.
    Unimplemented
        If it has what the engine has no word for.
    """
    import sqlglot
    from sqlglot import ErrorLevel, errors

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # what it would warn of is an error
    if len(text) > MAX_STATEMENT:
        raise InvalidRequest(f"The statement is longer than {MAX_STATEMENT:,} characters.")
    try:
        parsed = [one for one in sqlglot.parse(text, read="bigquery") if one is not None]
    except errors.SqlglotError as error:
        raise InvalidRequest(f"The statement cannot be read: {_plain(error)}") from error
    except RecursionError as error:
        raise InvalidRequest("The statement is nested too deeply.") from error
    if len(parsed) != 1:
        raise InvalidRequest(f"Give one statement, not {len(parsed)}.")
    reader = _Reader(project, dataset)
    try:
        tree = reader.rewritten(parsed[0])
        sql = tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
    except errors.UnsupportedError as error:
        raise Unimplemented(f"Not offered here: {_plain(error)}") from error
    except RecursionError as error:
        raise InvalidRequest("The statement is nested too deeply.") from error
    return Statement(sql, reader.reads, tuple(reader.tables), tuple(reader.datasets))


class _Reader:
    """Walks a statement, refuses, and rewrites."""

    def __init__(self, project: str, dataset: str | None) -> None:
        self._project = project
        self._dataset = dataset
        self.reads = True
        self.tables: list[TableName] = []
        self.datasets: list[DatasetName] = []

    def rewritten(self, tree: exp.Expr) -> exp.Expr:
        """The statement with full names, or an error."""
        from sqlglot import exp

        self.reads = isinstance(tree, exp.Query)
        if not self.reads:
            self._check_change(tree)
        for node in list(tree.walk()):
            self._check(node, tree)
        for table in list(tree.find_all(exp.Table)):
            self._qualify(table, tree)
        for number, unnest in enumerate(list(tree.find_all(exp.Unnest))):
            _count_from_zero(unnest, number)
        for call in list(tree.find_all(exp.Format)):
            call.replace(exp.func("printf", *_arguments(call)))
        for select in list(tree.find_all(exp.Select)):
            _name_columns(select)
        return tree

    def _check_change(self, tree: exp.Expr) -> None:
        from sqlglot import exp

        kind = str(tree.args.get("kind") or "").upper()
        plain = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable, exp.Alter)
        made = isinstance(tree, exp.Create | exp.Drop) and kind in ("TABLE", "VIEW", "SCHEMA")
        if not isinstance(tree, plain) and not made:
            raise PermissionDenied(
                f"{_verb(tree)} is not offered: SELECT, and where changes are allowed INSERT, "
                "UPDATE, DELETE, MERGE, TRUNCATE, ALTER TABLE and CREATE or DROP of a TABLE, VIEW "
                "or SCHEMA."
            )

    def _check(self, node: exp.Expr, tree: exp.Expr) -> None:
        from sqlglot import exp

        if isinstance(node, exp.Command | exp.Copy | exp.Set | exp.Pragma | exp.Attach | exp.Into):
            raise PermissionDenied(f"{_verb(node)} is not offered.")
        inner = node is not tree and node.find_ancestor(exp.When) is None
        if inner and isinstance(node, exp.Create | exp.Insert | exp.Update | exp.Delete | exp.Drop):
            raise PermissionDenied(f"{_verb(node)} is not offered inside another statement.")
        if isinstance(node, exp.Property | exp.Properties):
            raise Unimplemented(f"{node.sql('bigquery')[:100]}: properties are not offered.")
        if isinstance(node, exp.Func):
            self._check_function(node)

    def _check_function(self, node: exp.Func) -> None:
        from sqlglot import exp

        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
            if str(node.this).lower() not in FUNCTIONS:
                raise PermissionDenied(f"There is no function {str(node.this)[:100]!r} here.")
        elif _REFUSED.fullmatch(type(node).__name__):
            raise PermissionDenied(f"The function {node.sql_name()} is not offered.")

    def _qualify(self, table: exp.Table, tree: exp.Expr) -> None:
        """Give a table its full name, unless it is a name of the statement's own."""
        from sqlglot import exp

        if isinstance(tree, exp.Create | exp.Drop) and not table.name:
            self._qualify_dataset(table)
            return
        if not isinstance(table.this, exp.Identifier):
            raise PermissionDenied("A table is named; functions that make tables are not offered.")
        if not table.db and not table.catalog and table.name in _own_names(table):
            return
        project = table.catalog or self._project
        dataset = table.db or self._dataset
        if dataset is None:
            raise InvalidRequest(
                f"{table.name[:100]!r} has no dataset: write dataset.table, or give a default "
                "dataset."
            )
        view = table.name.upper().removeprefix("INFORMATION_SCHEMA.")
        if view != table.name.upper():
            self._show_schema(table, DatasetName(project, dataset), view)
            return
        name = TableName(project, dataset, table.name)
        self.tables.append(name)
        if not table.alias and _may_have_alias(table):
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name.table, quoted=True)))
        table.set("this", exp.to_identifier(name.table, quoted=True))
        table.set("db", exp.to_identifier(name.dataset, quoted=True))
        table.set("catalog", exp.to_identifier(name.project, quoted=True))

    def _qualify_dataset(self, table: exp.Table) -> None:
        from sqlglot import exp

        name = DatasetName(table.catalog or self._project, table.db)
        self.datasets.append(name)
        table.set("db", exp.to_identifier(name.dataset, quoted=True))
        table.set("catalog", exp.to_identifier(name.project, quoted=True))

    def _show_schema(self, table: exp.Table, within: DatasetName, view: str) -> None:
        """Put what the engine knows of a dataset in the place of BigQuery's own views."""
        from sqlglot import exp

        columns = {
            "TABLES": ("table_catalog", "table_schema", "table_name", "table_type"),
            "COLUMNS": (
                "table_catalog",
                "table_schema",
                "table_name",
                "column_name",
                "ordinal_position",
                "is_nullable",
                "data_type",
            ),
        }.get(view)
        if columns is None:
            raise Unimplemented(
                f"INFORMATION_SCHEMA has TABLES and COLUMNS here, not {view[:100]}."
            )
        self.datasets.append(within)
        query = (
            exp.select(*columns)
            .from_(exp.table_(view.lower(), db="information_schema"))
            .where(exp.column("table_catalog").eq(within.project))
            .where(exp.column("table_schema").eq(within.dataset))
        )
        table.replace(query.subquery(table.alias or view))


def _may_have_alias(table: exp.Table) -> bool:
    """Whether a table is read, so that its columns may be named by it."""
    from sqlglot import exp

    return isinstance(table.parent, exp.From | exp.Join)


def _own_names(node: exp.Expr) -> set[str]:
    """Names that WITH clauses around a node give to queries."""
    from sqlglot import exp

    names: set[str] = set()
    parent = node.parent
    while parent is not None:
        for key in ("with_", "with"):
            clause = parent.args.get(key)
            if isinstance(clause, exp.With):
                names |= {query.alias for query in clause.expressions}
        parent = parent.parent
    return names


def _count_from_zero(unnest: exp.Unnest, number: int) -> None:
    """Let WITH OFFSET count from 0, as it does in BigQuery; the engine counts from 1."""
    from sqlglot import exp

    offset, alias = unnest.args.get("offset"), unnest.args.get("alias")
    if not offset:
        return
    position = offset if isinstance(offset, exp.Identifier) else exp.to_identifier("offset")
    named = alias.columns if isinstance(alias, exp.TableAlias) and alias.columns else []
    value = named[0] if named else exp.to_identifier("value")
    (items,) = unnest.expressions
    places = exp.Anonymous(
        this="range", expressions=[exp.Anonymous(this="len", expressions=[items])]
    )
    counted = exp.select(
        exp.alias_(exp.Anonymous(this="unnest", expressions=[items.copy()]), value.copy()),
        exp.alias_(exp.Anonymous(this="unnest", expressions=[places]), position.copy()),
    )
    lateral = exp.Lateral(
        this=counted.subquery(),
        alias=exp.TableAlias(
            this=exp.to_identifier(f"_offset_{number}"),
            columns=[value.copy(), position.copy()],
        ),
    )
    unnest.replace(lateral)


def _name_columns(select: exp.Select) -> None:
    """Name columns that have no name the way BigQuery does: a field by itself, others ``f0_``."""
    from sqlglot import exp

    if not isinstance(select.parent, exp.From | exp.Subquery | exp.SetOperation | exp.CTE | None):
        return
    unnamed = 0
    for column in list(select.expressions):
        if isinstance(column, exp.Dot) and not column.is_star:
            column.replace(exp.alias_(column.copy(), column.name, quoted=True))
        elif not isinstance(column, exp.Column | exp.Alias) and not column.is_star:
            column.replace(exp.alias_(column.copy(), f"f{unnamed}_"))
            unnamed += 1


def _arguments(call: exp.Expr) -> Iterator[Any]:
    yield call.this
    yield from call.expressions


def _verb(node: exp.Expr) -> str:
    """What a statement does, in a word."""
    return str(node.this if node.key == "command" else node.key).upper().split(maxsplit=1)[0]


def _plain(error: Exception) -> str:
    return _COLOUR.sub("", str(error)).strip()
