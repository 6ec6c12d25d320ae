"""The text format, read by prometheus-client's own parser, which is stricter than Prometheus."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from microgateway.core.histogram import HTTP_BOUNDS, bin_of
from microgateway.observability.exposition import Family, page


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_label_and_any_number_comes_through(text: str, value: float) -> None:
    family = Family("some_gauge", "gauge", 'A "help"\nwith \\ everything')
    family.add(value, label=text)
    (read,) = text_string_to_metric_families(page([lambda: [family]]))
    (sample,) = read.samples
    assert (sample.labels, sample.value) == ({"label": text}, value)


def test_a_histogram_is_cumulative_and_in_seconds() -> None:
    family = Family("some_seconds", "histogram", "Durations.")
    durations = [1_000, 5_000, 5_001, 80_000, 60_000_000]
    family.add_histogram({bin_of(duration): 1 for duration in durations}, sum(durations), HTTP_BOUNDS, route="/a")
    (read,) = text_string_to_metric_families(page([lambda: [family]]))
    buckets = {sample.labels["le"]: sample.value for sample in read.samples if sample.name.endswith("_bucket")}
    assert list(buckets) == [
        *("0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75"),
        *("1", "2.5", "5", "7.5", "10", "+Inf"),
    ]  # what OpenTelemetry's HTTP conventions advise
    assert [buckets[bound] for bound in ("0.005", "0.01", "0.1", "10", "+Inf")] == [2, 3, 4, 4, 5]
    others = {sample.name: sample.value for sample in read.samples if not sample.name.endswith("_bucket")}
    assert others["some_seconds_count"] == 5
    assert math.isclose(others["some_seconds_sum"], 60.091001)


def test_samples_of_the_same_labels_are_one() -> None:
    family = Family("some_total", "counter", "Twice.")
    family.add(1, route="/a")
    family.add(2, route="/a")
    family.add(4, route="/b")
    (read,) = text_string_to_metric_families(page([lambda: [family]]))
    assert {sample.labels["route"]: sample.value for sample in read.samples} == {"/a": 3, "/b": 4}
