"""Which tokens of our own are believed, for how long, and what is said of the others."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from microgateway.snapshot import KeyRing, Principal
from microgateway.tokens.faults import (
    ALGORITHM,
    CLAIMS_MISSING,
    EXPIRED,
    ISSUER,
    NOT_YET_VALID,
    REVOKED,
    SIGNATURE,
    TOO_LARGE,
    Fault,
)
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.parsing import ParsedToken
from microgateway.tokens.signing import LEEWAY, Signer, is_issued_here
from microgateway.tokens.verifying import Verifier
from tests.kit.configuration import key

SECRET = b"a secret that is long enough for HMAC"
WALL = 1_700_000_000.0
HOUR = 3_600.0
KEY = key("bob", scopes=["read", "write"], services=["one"], burst=7)
RING = KeyRing.of_keys([KEY.entity])


def principal() -> Principal:
    found = RING.of_id("bob")
    assert found is not None
    return found


def signer() -> Signer:
    return Signer(secret=SECRET, lifetime=HOUR)


def verifier(**options: int) -> Verifier:
    return Verifier(signer=signer(), sources=KeySources(now=lambda: 0.0), **options)


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; a change to None leaves one out."""
    usual = {"iss": "microgateway", "sub": "bob", "iat": WALL, "exp": WALL + HOUR, "jti": "one"} | changes
    return {name: value for name, value in usual.items() if value is not None}


def issued(wall: float = WALL) -> bytes:
    return signer().issue(principal(), wall).text.encode()


def test_a_token_says_what_it_must_and_another_library_reads_it() -> None:
    token = signer().issue(principal(), WALL + 0.7)
    read = jwt.decode(token.text, SECRET, algorithms=["HS256"], issuer="microgateway", options={"verify_exp": False})
    assert read == claims(exp=int(WALL + HOUR), iat=int(WALL), jti=read["jti"]) | {"scope": "read write"}
    assert token.expires_in == HOUR
    assert issued() != issued()


def test_a_token_is_its_key_with_the_same_bucket_and_the_same_services() -> None:
    told = verifier().verify(issued(), RING, WALL)
    assert isinstance(told, Principal)
    own = principal()
    assert (told.id, told.limit, told.services, told.policy_field) == (
        own.id,
        own.limit,
        own.services,
        own.policy_field,
    )
    assert told.expires_at == WALL + HOUR


def test_a_token_never_outlives_its_key() -> None:
    ends = datetime.fromtimestamp(WALL + 10, UTC)
    ring = KeyRing.of_keys([key("bob", expires_at=ends.isoformat()).entity])
    found = ring.of_id("bob")
    assert found is not None
    token = signer().issue(found, WALL)
    assert token.expires_in == 10
    tokens = verifier()
    assert isinstance(tokens.verify(token.text.encode(), ring, WALL + 9.9), Principal)
    assert tokens.verify(token.text.encode(), ring, WALL + 10) is EXPIRED


def test_it_ends_by_the_clock_remembered_or_not() -> None:
    token, tokens = issued(), verifier()
    assert isinstance(tokens.verify(token, RING, WALL), Principal)
    assert isinstance(tokens.verify(token, RING, WALL + HOUR - 0.1), Principal)
    assert tokens.verify(token, RING, WALL + HOUR) is EXPIRED
    assert tokens.verify(token, RING, WALL + HOUR) is EXPIRED
    assert verifier().verify(token, RING, WALL + HOUR) is EXPIRED
    assert tokens.remembered == 0


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"revoked_at": datetime.fromtimestamp(WALL, UTC)},
    ],
)
def test_it_ends_with_its_key_at_the_very_next_look(change: dict[str, Any]) -> None:
    token, tokens = issued(), verifier()
    assert isinstance(tokens.verify(token, RING, WALL), Principal)
    after = RING.with_key(KEY.entity.model_copy(update=change))
    assert tokens.verify(token, after, WALL) is REVOKED
    assert tokens.remembered == 0
    assert isinstance(tokens.verify(token, RING, WALL), Principal)
    assert tokens.verify(token, KeyRing.of_keys([]), WALL) is REVOKED


def test_it_follows_its_key_through_a_change() -> None:
    token, tokens = issued(), verifier()
    assert isinstance(tokens.verify(token, RING, WALL), Principal)
    changed = RING.with_key(KEY.entity.model_copy(update={"burst_size": 3, "services": []}))
    told = tokens.verify(token, changed, WALL)
    assert isinstance(told, Principal)
    assert (told.limit.burst, told.services) == (3, None)
    earlier = RING.with_key(
        KEY.entity.model_copy(update={"expires_at": datetime.fromtimestamp(WALL, UTC) + timedelta(seconds=5)})
    )
    assert isinstance(tokens.verify(token, earlier, WALL + 4), Principal)
    assert tokens.verify(token, earlier, WALL + 5) is EXPIRED


def segment(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def signed(header: dict[str, Any], body: dict[str, Any], algorithm: str = "sha256", secret: bytes = SECRET) -> bytes:
    text = segment(header) + b"." + segment(body)
    return text + b"." + base64.urlsafe_b64encode(hmac.digest(secret, text, algorithm)).rstrip(b"=")


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        (signed({"alg": "HS256"}, claims(), secret=b"another"), SIGNATURE),
        (signed({"alg": "HS256"}, claims())[:-4] + b"AAAA", SIGNATURE),
        (segment({"alg": "HS256"}) + b"." + segment(claims()) + b".", SIGNATURE),
        (signed({"alg": "none"}, claims()), ALGORITHM),
        (segment({"alg": "none"}) + b"." + segment(claims()) + b".", ALGORITHM),
        (signed({"alg": "None"}, claims()), ALGORITHM),
        (signed({}, claims()), ALGORITHM),
        (signed({"alg": ["HS256"]}, claims()), ALGORITHM),
        (signed({"alg": "RS256"}, claims()), ALGORITHM),
        (signed({"alg": "HS512"}, claims(), "sha512"), ALGORITHM),
        (signed({"alg": "HS256"}, claims(iss="somebody")), ISSUER),
        (signed({"alg": "HS256"}, claims(iss=None)), ISSUER),
        (signed({"alg": "HS256"}, claims(iss=["microgateway"])), ISSUER),
        (signed({"alg": "HS256"}, claims(exp=None)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(iat=None)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(sub=None)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(sub="")), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(sub=7)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(sub="x" * 257)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(jti=None)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(exp="2099-01-01")), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(exp=True)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(exp=1e300)), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(nbf="soon")), CLAIMS_MISSING),
        (signed({"alg": "HS256"}, claims(exp=WALL)), EXPIRED),
        (signed({"alg": "HS256"}, claims(exp=0)), EXPIRED),
        (signed({"alg": "HS256"}, claims(nbf=WALL + LEEWAY + 1)), NOT_YET_VALID),
        (signed({"alg": "HS256"}, claims(iat=WALL + LEEWAY + 1)), NOT_YET_VALID),
        (signed({"alg": "HS256"}, claims(sub="nobody")), REVOKED),
        (b"x" * 8_193, TOO_LARGE),
    ],
)
def test_what_is_not_believed_and_why(token: bytes, fault: Fault) -> None:
    tokens = verifier()
    assert tokens.verify(token, RING, WALL) is fault
    assert tokens.claims_of(token, RING, WALL) is fault
    assert tokens.remembered == 0


def test_another_gateway_s_clock_may_be_a_little_ahead() -> None:
    assert isinstance(verifier().verify(issued(WALL + LEEWAY), RING, WALL), Principal)


class TestMemory:
    def test_the_same_token_is_looked_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens, token = verifier(), issued()
        looks: list[object] = []
        check = tokens.signer.check

        def look(parsed: ParsedToken, wall: float) -> Fault | None:
            looks.append(parsed)
            return check(parsed, wall)

        monkeypatch.setattr(tokens.signer, "check", look)
        first = tokens.verify(token, RING, WALL)
        assert tokens.verify(bytes(bytearray(token)), RING, WALL + 1) is first
        assert len(looks) == 1

    def test_it_is_bounded_in_tokens_and_in_bytes(self) -> None:
        few = verifier(most_remembered=10)
        for _ in range(25):
            assert isinstance(few.verify(issued(), RING, WALL), Principal)
            assert few.remembered <= 10
        size = len(issued())
        small = verifier(most_bytes=3 * size)
        for _ in range(8):
            assert isinstance(small.verify(issued(), RING, WALL), Principal)
            assert small.remembered <= 3

    def test_a_fault_is_never_remembered(self) -> None:
        tokens = verifier()
        early = issued(WALL + 60)
        assert tokens.verify(early, RING, WALL) is NOT_YET_VALID
        assert isinstance(tokens.verify(early, RING, WALL + 60), Principal)


def test_ours_are_told_from_others_without_being_believed() -> None:
    assert is_issued_here(b"Bearer " + issued())
    assert is_issued_here(b"bearer  " + signed({"alg": "none"}, claims()))
    assert not is_issued_here(b"Bearer " + signed({"alg": "HS256"}, claims(iss="somebody")))
    assert not is_issued_here(b"Basic " + issued())
    assert not is_issued_here(b"Bearer")
    assert not is_issued_here(issued())


@pytest.mark.parametrize("algorithm", [hashlib.sha384, hashlib.sha512])
def test_a_longer_hash_is_not_ours(algorithm: Any) -> None:
    text = segment({"alg": "HS256"}) + b"." + segment(claims())
    token = text + b"." + base64.urlsafe_b64encode(hmac.new(SECRET, text, algorithm).digest()).rstrip(b"=")
    assert verifier().verify(token, RING, WALL) is SIGNATURE
