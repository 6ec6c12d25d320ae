"""Status codes as operators write them."""

import pytest

from microgateway.core.statuses import StatusesError, parse_statuses


@pytest.mark.parametrize(
    ("entries", "codes"),
    [
        ([503], {503}),
        (["503", 503], {503}),
        (["500-503"], {500, 501, 502, 503}),
        (["429", "508-509"], {429, 508, 509}),
        (["5xx"], set(range(500, 600))),
        ([], set()),
    ],
)
def test_codes_ranges_and_classes(entries: list[int | str], codes: set[int]) -> None:
    assert parse_statuses(entries) == codes


@pytest.mark.parametrize(
    "entry", ["", "5x", "6xx", "5XX", "50", "600", "499-600", "504-500", "5xx-6xx", "-500", "٥٠٠", 99]
)
def test_everything_else_is_refused(entry: int | str) -> None:
    with pytest.raises(StatusesError):
        parse_statuses([entry])
