"""After a crowd of connections memory is given back; `tests/process/test_memory.py` sees it go."""

from microgateway.data_plane.heap_trim import CROWD, HeapTrim


def trims_after(*connections: int) -> list[int]:
    """Which of these counts, told one after the other, were followed by a trim."""
    followed, told = [], 0

    def trim(keep: int) -> int:
        followed.append(told)
        return keep

    heap_trim = HeapTrim(trim)
    for told in connections:
        heap_trim.sweep(told)
    return followed


def test_a_crowd_that_goes_is_noticed_once() -> None:
    half = CROWD // 2
    assert trims_after(0, CROWD, half + 1, half + 1, half, half, half, 0, 0) == [half]


def test_while_they_go_it_waits() -> None:
    assert trims_after(CROWD, CROWD // 2, CROWD // 4, 3, 0, 0, 0) == [0]


def test_each_crowd_is_noticed() -> None:
    assert trims_after(CROWD, 0, 0, CROWD, 0, 0) == [0, 0]


def test_few_connections_are_none_of_its_business() -> None:
    assert trims_after(CROWD - 1, 0, 0, CROWD - 1, 0, 0) == []
