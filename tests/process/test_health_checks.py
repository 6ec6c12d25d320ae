"""A gateway as it is started asks its services how they are, by itself, and does not ask when it is told not to."""

from pathlib import Path

from tests.kit.messages import lines
from tests.kit.steps import Send
from tests.kit.upstream import running_upstream
from tests.kit.waiting import until
from tests.process.gateway import running_gateway

ILL = Send(lines("HTTP/1.1 500 Ill", "Content-Length: 0"))


def test_services_are_asked_without_anybody_saying_so(tmp_path: Path) -> None:
    with (
        running_upstream() as upstream,
        running_gateway(tmp_path / "data", MICROGATEWAY_HEALTH_CHECKS="true") as gateway,
    ):
        operator = gateway.operator
        check = {"interval_seconds": 0.1, "unhealthy_threshold": 1}
        service = operator.create("services", name="users", base_url=upstream.url, health_check=check)

        def health() -> str:
            return str(operator.http.get(f"/api/services/{service['id']}").json()["health"])

        until(lambda: health() == "healthy", "the first check")
        upstream.usually(ILL)
        until(lambda: health() == "unhealthy", "a failed check")
        assert {request.target for request in upstream.requests} == {b"/health"}


def test_switched_off_they_are_asked_by_hand_only(tmp_path: Path) -> None:
    with (
        running_upstream() as upstream,
        running_gateway(tmp_path / "data", MICROGATEWAY_HEALTH_CHECKS="false") as gateway,
    ):
        operator = gateway.operator
        check = {"interval_seconds": 0.1}
        service = operator.create("services", name="users", base_url=upstream.url, health_check=check)
        answer = operator.http.post(f"/api/services/{service['id']}/health-check")
        assert answer.json()["health"] == "healthy"
        assert len(upstream.requests) == 1
