"""What is looked for in the request log, as SQL: a condition on rows, and a weaker one on zones that may hold them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from microgateway.persistence.log_zones import fingerprint, word

_CONTAINS = {"sqlite": "instr({text}, {part}) > 0", "postgresql": "position({part} in {text}) > 0"}
_NAMES = (("service", "S"), ("route", "R"), ("key", "K"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """All of these hold of a row; what is left out lets everything pass.

    `classes` are the first digits of statuses, and a row may fit either those or `statuses`. `service`, `route` and
    `key` are an id or a name, a route's name being its path. `path` is a part of it, in any case. `since` and `until`
    are seconds since the epoch, and `until` is not included.
    """

    methods: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    service: str | None = None
    route: str | None = None
    key: str | None = None
    path: str | None = None
    rate_limited: bool | None = None
    circuit_open: bool | None = None
    min_latency_ms: float | None = None
    since: float | None = None
    until: float | None = None
    request_id: str | None = None
    trace_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return all(getattr(self, field.name) in ((), None) for field in fields(self))


class Conditions(NamedTuple):
    """SQL for WHERE, each with AND in front or empty; `zones` is on `z`, `rows` on `r`. `values` are for both."""

    zones: str
    rows: str
    values: dict[str, object]


class _Builder:
    """Collects conditions; every value is a parameter."""

    def __init__(self, dialect: str) -> None:
        self._contains = _CONTAINS[dialect]
        self.zones: list[str] = []
        self.rows: list[str] = []
        self.values: dict[str, object] = {}

    def value(self, value: object) -> str:
        """The place that stands for it in SQL."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def holds(self, column: str, part: object) -> str:
        return self._contains.format(text=column, part=self.value(part))

    def holds_word(self, kind: str, value: object) -> str:
        return self.holds("z.keys" if kind == "K" else "z.words", word(kind, value) + "\n")


def conditions(wanted: LogFilter, dialect: str) -> Conditions:
    """The SQL for one dialect, `sqlite` or `postgresql`."""
    sql = _Builder(dialect)
    _add_kinds(sql, wanted)
    _add_names(sql, wanted)
    _add_spans(sql, wanted)
    _add_texts(sql, wanted)
    return Conditions(_all(sql.zones), _all(sql.rows), sql.values)


def _add_kinds(sql: _Builder, wanted: LogFilter) -> None:
    if wanted.methods:
        sql.zones.append(_any(sql.holds_word("m", method) for method in wanted.methods))
        sql.rows.append(_any(f"r.method = {sql.value(method)}" for method in wanted.methods))
    if wanted.statuses or wanted.classes:
        sql.zones.append(
            _any(
                [
                    *(sql.holds_word("s", status) for status in wanted.statuses),
                    *(sql.holds_word("c", digit) for digit in wanted.classes),
                ]
            )
        )
        sql.rows.append(
            _any(
                [
                    *(f"r.status = {sql.value(status)}" for status in wanted.statuses),
                    *(f"r.status BETWEEN {digit * 100:d} AND {digit * 100 + 99:d}" for digit in wanted.classes),
                ]
            )
        )
    for column, letter in (("rate_limited", "l"), ("circuit_open", "o")):
        flag = getattr(wanted, column)
        if flag is not None:
            sql.zones.append(sql.holds_word(letter, int(flag)))
            sql.rows.append(f"r.{column}" if flag else f"NOT r.{column}")


def _add_names(sql: _Builder, wanted: LogFilter) -> None:
    for column, letter in _NAMES:
        name = getattr(wanted, column)
        if name is not None:
            sql.zones.append(sql.holds_word(letter, name))
            place = sql.value(name)
            sql.rows.append(f'(r.{column}_id = {place} OR r."{column}" = {place})')


def _add_spans(sql: _Builder, wanted: LogFilter) -> None:
    if wanted.min_latency_ms is not None:
        place = sql.value(wanted.min_latency_ms)
        sql.zones.append(f"z.slowest >= {place}")
        sql.rows.append(f"r.latency_ms >= {place}")
    if wanted.since is not None:
        place = sql.value(wanted.since)
        sql.zones.append(f"z.latest >= {place}")
        sql.rows.append(f"r.timestamp >= {place}")
    if wanted.until is not None:
        place = sql.value(wanted.until)
        sql.zones.append(f"z.earliest < {place}")
        sql.rows.append(f"r.timestamp < {place}")


def _add_texts(sql: _Builder, wanted: LogFilter) -> None:
    if wanted.path:
        part = wanted.path.lower()
        sql.zones.append(sql.holds("z.paths", part))
        sql.rows.append(sql.holds("lower(r.path)", part))
    for column in ("request_id", "trace_id"):
        text = getattr(wanted, column)
        if text is not None:
            sql.zones.append(sql.holds("z.fingerprints", fingerprint(text)))
            sql.rows.append(f"r.{column} = {sql.value(text)}")


def _any(conditions: Iterator[str] | list[str]) -> str:
    return f"({' OR '.join(conditions)})"


def _all(conditions: list[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)
