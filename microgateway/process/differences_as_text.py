"""What is different between two versions of the configuration, and what a restore did, as text for a terminal."""

import json
from collections.abc import Iterator
from typing import Any

SIGNS = {"create": "+", "change": "~", "delete": "-"}
NOTES = {
    "stays_revoked": "was revoked since, and stays so",
    "keeps_its_text": "was rotated since: its present text stays",
    "stays": "was made since, and stays good",
    "is_disabled": "was made since, and is switched off",
    "is_good_again": "is good again",
}


def diff_text(told: Any) -> str:
    head = f"from version {told['from_version']} to version {told['to_version']}:"
    return "\n".join([head, *_differences(told["items"], told["total"])])


def restore_text(told: Any) -> str:
    """What was changed, from what was in force to what was restored; or would be."""
    lines = [_verdict(told), *_differences(told["changes"], told["total"])]
    notes = [
        f"! {note['kind'].replace('_', ' ')} {note['name']} ({note['id']}) {NOTES[note['code']]}"
        for note in told["notes"]
    ]
    warnings = [f"! {warning['route_id']}: {warning['detail']}" for warning in told["warnings"]]
    return "\n".join([*lines, *notes, *warnings])


def _verdict(told: Any) -> str:
    version, restored = told["version"], told["restored_version"]
    if not told["total"]:
        return f"version {restored} is no different from version {version}, which is in force"
    if told["dry_run"]:
        return f"to restore version {restored} would change, from version {version}, which is in force:"
    return f"version {restored} is restored, and in force as version {version}; it changed:"


def _differences(items: list[Any], total: int) -> Iterator[str]:
    """Of what is changed the fields; of what is there or is gone as a whole, that it is."""
    for one in items:
        yield f"{SIGNS[one['action']]} {one['kind'].replace('_', ' ')} {one['name']} ({one['id']})"
        if one["action"] == "change":
            for field in one["fields"]:
                yield f"    {field['field']}: {_value(field['before'])} → {_value(field['after'])}"
    if total > len(items):
        yield f"and {total - len(items)} more"


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
