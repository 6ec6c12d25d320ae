"""A table in parts: a dict that is never changed, but in its successors."""

from hypothesis import given
from hypothesis import strategies as st

from microgateway.core.split_tables import SplitTable

entries = st.dictionaries(st.integers(-300, 300), st.integers(), max_size=20)


@given(entries, st.lists(st.tuples(entries, st.lists(st.integers(-300, 300), max_size=5)), max_size=5))
def test_it_is_the_dict_that_it_would_be(
    first: dict[int, int], changes: list[tuple[dict[int, int], list[int]]]
) -> None:
    tables, dicts = [SplitTable(first)], [first]
    for put, gone in changes:
        tables.append(tables[-1].changed(put, gone))
        dicts.append({**{key: value for key, value in dicts[-1].items() if key not in gone}, **put})
    for table, expected in zip(tables, dicts, strict=True):
        assert (dict(table), len(table)) == (expected, len(expected))
        assert [table.find(key) for key in range(-300, 301)] == [expected.get(key) for key in range(-300, 301)]
