"""Tokens of other issuers, explained: believed as the proxy port would, with nothing fetched and nothing remembered."""

from typing import Any

from microgateway.control_plane.gateway_requests import GatewayAnswer, GatewayRequest
from microgateway.testing import RunningProxy
from microgateway.tokens.key_source import COOLDOWN
from tests.http.test_token_issuers import TWO, Scene, scene
from tests.simulation.portraits import portrait


def explained(stage: Scene, token: str) -> GatewayAnswer:
    """And nothing of it can be seen afterwards."""

    def explain(served: RunningProxy) -> GatewayAnswer:
        before = portrait(served)
        answer = served.simulation.explain(GatewayRequest(path="/", token=token))
        assert portrait(served) == before
        return answer

    answer: GatewayAnswer = stage.gateway.call(explain)
    return answer


def verdict(answer: GatewayAnswer) -> Any:
    return next(stage.verdict for stage in answer.stages if stage.stage == "authenticate")


def test_a_token_that_is_believed_is_not_remembered() -> None:
    with scene() as stage:
        answer = explained(stage, stage.token())
        assert (answer.status, verdict(answer), answer.key_id) == (None, "passed", "iss_1:ada")
        assert stage.gateway.call(lambda served: served.verifier.remembered) == 0


def test_one_that_has_expired_says_so() -> None:
    with scene() as stage:
        answer = explained(stage, stage.token(exp=stage.clock.wall() - 3_600))
        assert (answer.status, answer.code) == (401, "token_expired")


def test_keys_that_a_request_would_have_fetched_are_not() -> None:
    with scene() as stage:
        stage.pass_time(COOLDOWN + 1)
        answer = explained(stage, stage.token(TWO))
        assert (answer.status, verdict(answer)) == (None, "postponed")
        assert (stage.server.asked, stage.server.fetches) == (1, 1)


def test_where_a_fetch_has_just_been_tried_the_key_is_unknown() -> None:
    with scene() as stage:
        answer = explained(stage, stage.token(TWO))
        assert (answer.status, answer.code) == (401, "token_key_unknown")
