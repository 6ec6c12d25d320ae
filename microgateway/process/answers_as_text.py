"""Answers of `/api/gateway` as text for a terminal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

MOST_LINES = 20


def explanation_text(told: Any) -> str:
    """One request: what comes of it, every stage, and the details of those that have some."""
    answer = told.get("answer", told)
    status = "goes to the service" if answer["status"] is None else str(answer["status"])
    parts = [_of_row(told) if "row" in told else "", f"{status}  {answer['code'] or ''}".rstrip()]
    parts.append(_table(("stage", "verdict", "why"), [(s["stage"], s["verdict"], s["why"]) for s in answer["stages"]]))
    for stage in answer["stages"]:
        if stage["limits"]:
            parts.append(_limits(stage["limits"]))
        if stage["candidates"]:
            parts.append(_candidates(stage["candidates"]))
        if stage["upstream_request"]:
            parts.append(_upstream(stage["upstream_request"]))
    parts.append("\n".join(f"{name}: {value}" for name, value in answer["headers"]))
    if answer["body"]:
        parts.append(answer["body"])
    return "\n\n".join(part for part in parts if part)


def batch_text(told: Any) -> str:
    """Many requests: counts, durations, what happened when, keys and services."""
    latency = told["latency_ms"]
    took = f"{told['took_seconds']:g} s here" + ("" if told["is_complete"] else ", cancelled")
    head = (
        f"{told['requests']} requests in {told['seconds']:g} s ({told['clock']}, {took})\n"
        f"{told['admitted']} to services, {told['retries']} retries\n"
        f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
    counts = [(one["requests"], one["status"], one["stage"], one["code"] or "") for one in told["counts"]]
    events = [
        (f"{one['at']:.3f} s", one["what"], one["name"], f"{one['before'] or ''} → {one['after']}", one["reason"])
        for one in told["timeline"][:MOST_LINES]
    ]
    groups = [
        (kind, one["name"] or one["id"], one["requests"], one["answered"], one["limited"], one["errors"])
        for kind, several in (("key", told["keys"]), ("service", told["services"]))
        for one in several[:MOST_LINES]
    ]
    return _joined(
        head,
        _table(("requests", "status", "stage", "code"), counts),
        _table(("at", "what", "name", "change", "why"), events),
        _table(("", "name", "requests", "answered", "limited", "errors"), groups),
    )


def replay_text(told: Any) -> str:
    """What of the log would come out otherwise."""
    done = "" if told["is_complete"] else " (cancelled)"
    head = (
        f"{told['changed']} of {told['rows']} requests from {_when(told['since'])} to {_when(told['until'])} "
        f"would come out otherwise{done}"
    )
    keys = [
        f"key {one['name'] or one['id']} would have seen {one['limited_after']} of {one['requests']} requests refused "
        f"by limits, and saw {one['limited_before']}"
        + ("" if one["first_at"] is None else f"; the first of them at {_when(one['first_at'])}")
        for one in told["keys"][:MOST_LINES]
    ]
    changes = [
        (
            one["requests"],
            one["before"],
            one["after"],
            one["key"] or "",
            one["route"] or "",
            one["limit"] or "",
            _when(one["first_at"]),
            ", ".join(str(example["id"]) for example in one["examples"]),
        )
        for one in told["changes"][:MOST_LINES]
    ]
    versions = [
        ("none" if one["version"] is None else one["version"], one["rows"], "" if one["is_kept"] else "no longer kept")
        for one in told["versions"][-MOST_LINES:]
    ]
    unknown = [f"not known: {one['requests']} {one['what']}" for one in told["unknown"]]
    return _joined(
        head,
        "\n".join(keys),
        _table(("requests", "was", "would be", "key", "route", "limit", "first at", "rows"), changes),
        _table(("served by version", "requests", ""), versions),
        "\n".join(unknown),
    )


def history_text(told: Any) -> str:
    """What was configured when."""
    head = f"version {told['version']} is in force; {told['oldest_version']} is the oldest that is kept"
    changes = [
        (one["version"], one["at"][:19].replace("T", " ") + "Z", one["action"], one["kind"], one["name"], one["id"])
        for one in told["items"]
    ]
    return _joined(head, _table(("version", "since", "action", "kind", "name", "id"), changes))


def _of_row(told: Any) -> str:
    row = told["row"]
    was = f"{row['timestamp']}  {row['method']} {row['path']} → {row['status']} {row['code']}".rstrip()
    version = told["answer"]["configuration_version"]
    under = f"Under version {version} of the configuration, which served it, and with the tokens of now:"
    if not told["is_served"]:
        under = f"Under version {version} of the configuration, which is in force, it would be:"
    return "\n".join([was, *told["assumed"], under])


def _limits(limits: Sequence[Any]) -> str:
    rows = [
        (
            one["name"] if one["rule_id"] else "the key's own",
            f"{one['requests_per_minute']}/min, {one['burst_size']} at once",
            f"{one['tokens_before']:.2f} → {one['tokens_after']:.2f}",
            "admits" if one["admitted"] else "refuses" if one["enforced"] else "would refuse",
            "" if one["next_token_seconds"] is None else f"{one['next_token_seconds']:g} s",
        )
        for one in limits
    ]
    return _table(("limit", "rate", "tokens", "verdict", "next token in"), rows)


def _candidates(candidates: Sequence[Any]) -> str:
    rows = [
        (
            "→" if one["chosen"] else "",
            one["path"],
            " ".join(one["methods"]) or "any",
            " ".join(one["hosts"]) or "any",
            one["priority"],
            "; ".join(one["failed"]),
        )
        for one in candidates
    ]
    return _table(("", "route", "methods", "hosts", "priority", "not, because"), rows)


def _upstream(sent: Any) -> str:
    lines = [f"{sent['method']} {sent['url']}"]
    lines += [f"+ {name}: {value}" for name, value in sent["added"]]
    lines += [f"- {name}: {value}" for name, value in sent["removed"]]
    lines += [f"~ {name}: {before} → {after}" for name, before, after in sent["changed"]]
    return "\n".join(lines)


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}Z"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they need to be; nothing where there are no rows."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    lines = [list(heads), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
