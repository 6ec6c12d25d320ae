"""A thousand random histories: status, `RateLimit`, `X-RateLimit-*` and `Retry-After` are one truth, which paper knows.

Paper is a bucket of fractions that knows nothing of the gateway's: what each limit has left, and when it has more.
"""

import math
import random
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest

from microgateway.entities import ApiKey, RateLimitRule
from tests.data_plane.test_limit_rules import Answer, Town, with_key
from tests.kit.configuration import IssuedKey, key, limit_rule

HISTORIES, PARTS, STEPS = 1_000, 8, 12
ADDRESSES = ("192.0.2.1", "192.0.2.2")
POLICY = re.compile(r'("[a-z0-9]+");q=(\d+);w=60')
LEFT = re.compile(r'("[a-z0-9]+");r=(\d+);t=(\d+)')


@dataclass(slots=True)
class Paper:
    """One bucket. `left` is in tokens, as of `moment` seconds."""

    name: str
    per_minute: int
    burst: int
    is_guard: bool
    left: Fraction
    moment: Fraction

    def at(self, moment: Fraction) -> "Paper":
        self.left = min(Fraction(self.burst), self.left + (moment - self.moment) * self.per_minute / 60)
        self.moment = moment
        return self

    def wait(self) -> Fraction:
        return (1 - self.left) * 60 / self.per_minute

    def told(self) -> tuple[str, int, int]:
        return self.name, math.floor(self.left), math.ceil((self.burst - self.left) * 60 / self.per_minute)


class History:
    """Two keys, up to three rules, and a notebook. All moments are whole quarters of a second, which floats hold."""

    def __init__(self, seed: int) -> None:
        self.random = dice = random.Random(seed)
        self.keys = [key(name, **self._limit()) for name in ("ada", "bob")]
        ways: list[dict[str, Any]] = [{"count_by": "all"}, {"count_by": "address"}, {"count_by": "key"}]
        ways += [{"count_by": "header", "header": "x-tenant"}, {"count_by": "address", "before_auth": True}]
        self.rules = [
            limit_rule(f"rule{number}", **(self._limit() | dice.choice(ways))) for number in range(dice.randrange(4))
        ]
        self.town = Town(*self.rules, keys=self.keys)
        self.papers: dict[tuple[str, str], Paper] = {}

    def _limit(self) -> dict[str, int]:
        return {"per_minute": self.random.choice((7, 60, 90, 600)), "burst": self.random.randint(1, 4)}

    def papers_of(self, issued: IssuedKey, ip: str, tenant: str) -> list[Paper]:
        """The buckets that a request has to do with."""
        owner = issued.entity
        subjects = {"all": "", "address": ip, "key": owner.id, "header": tenant}
        wanted: list[tuple[str, str, ApiKey | RateLimitRule]] = [("default", owner.id, owner)]
        wanted += [(rule.id, subjects[rule.count_by], rule) for rule in self.rules]
        moment = Fraction(self.town.bench.clock.now())
        for name, subject, limit in wanted:
            per_minute, burst = limit.requests_per_minute, limit.burst_size
            is_guard = isinstance(limit, RateLimitRule) and limit.before_auth
            paper = Paper(f'"{name}"', per_minute, burst, is_guard, Fraction(burst), moment)
            self.papers.setdefault((name, subject), paper)
        return [self.papers[name, subject].at(moment) for name, subject, _ in wanted]

    def step(self) -> None:
        dice = self.random
        self.town.bench.clock.advance(dice.choice((0, 0, 0, 1, 2, 5)) / 4)
        issued, ip, tenant = dice.choice(self.keys), dice.choice(ADDRESSES), dice.choice(("red", "blue"))
        request: dict[str, Any] = {"ip": ip}
        lines = ("/closed", with_key(issued), f"X-Tenant: {tenant}")
        papers = self.papers_of(issued, ip, tenant)
        answer = self.town.ask(*lines, **request)
        refusing = self.check(answer, papers)
        while refusing:
            self.town.bench.clock.advance(float(answer.fields["retry-after"]))
            papers = self.papers_of(issued, ip, tenant)
            answer = self.town.ask(*lines, **request)
            was_guard, refusing = refusing[0].is_guard, self.check(answer, papers)
            assert not refusing or (was_guard and not refusing[0].is_guard), "whoever waits as told is admitted"

    def check(self, answer: Answer, papers: list[Paper]) -> list[Paper]:
        """Whether this is what paper says; the buckets that refuse. Guards speak for themselves: behind them nobody is
        known yet, so whoever waits as they say has passed them, and no more.
        """
        refusing = [paper for paper in papers if paper.left < 1]
        refusing = [paper for paper in refusing if paper.is_guard] or refusing
        assert answer.status == (429 if refusing else 200)
        if refusing:
            longest = max(paper.wait() for paper in refusing)
            assert answer.fields["retry-after"] == str(math.ceil(longest))
            candidates = [paper for paper in refusing if paper.wait() == longest]
        else:
            assert "retry-after" not in answer.fields
            for paper in papers:
                paper.left -= 1
            fewest = min(math.floor(paper.left) for paper in papers)
            candidates = [paper for paper in papers if math.floor(paper.left) == fewest]
        self.check_fields(answer, candidates)
        return refusing

    def check_fields(self, answer: Answer, candidates: list[Paper]) -> None:
        policy, left = POLICY.fullmatch(answer.fields["ratelimit-policy"]), LEFT.fullmatch(answer.fields["ratelimit"])
        assert policy is not None
        assert left is not None
        name, remaining, reset = left[1], int(left[2]), int(left[3])
        assert (name, remaining, reset) in [paper.told() for paper in candidates]
        assert policy[1] == name
        assert answer.fields["x-ratelimit-limit"] == policy[2]
        assert answer.fields["x-ratelimit-remaining"] == str(remaining)
        assert answer.fields["x-ratelimit-reset"] == str(reset)
        assert int(policy[2]) in [paper.per_minute for paper in candidates if paper.name == name]
        if answer.status == 429:
            assert remaining == 0
            assert reset >= int(answer.fields["retry-after"]) >= 1
            assert answer.problem["code"] == "rate_limited"


@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_histories(part: int) -> None:
    refusals = 0
    for seed in range(part, HISTORIES, PARTS):
        history = History(seed)
        for _ in range(STEPS):
            history.step()
        refusals += sum(exchange.status == 429 for exchange in history.town.bench.exchanges)
    assert refusals > HISTORIES // PARTS, "histories without refusals say nothing"
