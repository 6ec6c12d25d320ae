"""Whatever bytes come as a token: an answer with a code, and never an error."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgateway.snapshot import KeyRing, Principal
from microgateway.tokens.faults import FAULTS, MALFORMED, TOO_LARGE, Fault
from microgateway.tokens.key_sources import KeySources
from microgateway.tokens.parsing import LARGEST_TOKEN, ParsedToken, parse
from microgateway.tokens.signing import Signer, is_issued_here
from microgateway.tokens.verifying import Verifier

SIGNER = Signer(secret=b"a secret that is long enough for HMAC", lifetime=60.0)
RING = KeyRing({}, {})
WALL = 1_700_000_000.0

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
header_values: st.SearchStrategy[Any] = (
    st.sampled_from(["HS256", "none", "RS256", "hs256", "", None, 1, ["HS256"], {}]) | json_values
)
headers = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), header_values)
claims = st.dictionaries(
    st.sampled_from(["iss", "sub", "exp", "iat", "nbf", "jti", "aud", "scope"]),
    st.sampled_from(["microgateway", "key", -1, 0, WALL + 60, 10**400, 1e308, float("nan"), float("inf")])
    | json_values,
)


def segment(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def answer(token: bytes) -> Principal | Fault:
    verdict = Verifier(signer=SIGNER, sources=KeySources(now=lambda: 0.0)).verify(token, RING, WALL)
    assert isinstance(verdict, Principal) or verdict in FAULTS
    assert isinstance(is_issued_here(b"Bearer " + token), bool)
    return verdict


@given(st.binary(max_size=200))
def test_any_bytes(token: bytes) -> None:
    assert isinstance(answer(token), Fault)


@given(st.lists(st.binary(max_size=60).map(base64.urlsafe_b64encode) | st.binary(max_size=20), max_size=5))
def test_any_segments(segments: list[bytes]) -> None:
    assert isinstance(answer(b".".join(segments)), Fault)


@given(headers | json_values, claims | json_values, st.binary(max_size=40))
def test_any_json(header: object, body: object, signature: bytes) -> None:
    token = segment(header) + b"." + segment(body) + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    assert isinstance(answer(token), Fault)


@given(claims)
def test_any_claims_that_are_signed_by_us(body: dict[str, object]) -> None:
    """Nobody has a key in this ring, so none of them can be believed, whatever they claim."""
    verdict = answer(SIGNER.sign(body).encode())
    assert isinstance(verdict, Fault)
    assert verdict is not MALFORMED


GOOD = SIGNER.sign({"iss": "microgateway", "sub": "key", "iat": 1, "exp": 2, "jti": "x"}).encode()
HEADER, BODY, SIGNATURE = GOOD.split(b".")


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"...",
        GOOD + b".",
        b"." + GOOD,
        HEADER + b"." + BODY,
        GOOD + b"=",
        GOOD.replace(b".", b" ."),
        b'"' + GOOD + b'"',
        HEADER + b"==." + BODY + b"." + SIGNATURE,
        segment([1]) + b"." + BODY + b"." + SIGNATURE,
        HEADER + b"." + segment("text") + b"." + SIGNATURE,
        segment({"alg": "HS256", "crit": ["exp"]}) + b"." + BODY + b"." + SIGNATURE,
        segment({"alg": "HS256", "b64": False}) + b"." + BODY + b"." + SIGNATURE,
        segment({"alg": "HS256", "kid": 7}) + b"." + BODY + b"." + SIGNATURE,
        base64.urlsafe_b64encode(b"[" * 5_000).rstrip(b"=") + b"." + BODY + b"." + SIGNATURE,
        base64.urlsafe_b64encode(b'{"a":' + b"9" * 5_000 + b"}").rstrip(b"=") + b".." + SIGNATURE,
    ],
)
def test_what_is_no_token(token: bytes) -> None:
    assert parse(token) is MALFORMED


def test_a_signature_has_one_spelling() -> None:
    """The last of 43 characters holds two bits that mean nothing: with them set it would be another text, as good."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(GOOD.decode()[-1])
    twin = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last | 1 : (last | 1) + 1]
    assert isinstance(parse(GOOD), ParsedToken)
    assert parse(GOOD[:-1] + twin) is MALFORMED


def test_the_size_comes_first() -> None:
    assert parse(b"a" * (LARGEST_TOKEN + 1)) is TOO_LARGE
    assert parse(b"a" * LARGEST_TOKEN) is MALFORMED
