"""What an operator configures.

`…Spec` is the writable part (the body of POST and PUT); the entity adds what the gateway keeps.
"""

from microgateway.entities.api_keys import HASHES, ApiKey, ApiKeySpec
from microgateway.entities.rate_limit_rules import RateLimitRule, RateLimitRuleSpec
from microgateway.entities.routes import Route, RouteSpec
from microgateway.entities.services import (
    CircuitSpec,
    HashOn,
    HealthCheckSpec,
    PassiveHealthSpec,
    Service,
    ServiceSpec,
    TargetSpec,
)
from microgateway.entities.tls import TlsSpec
from microgateway.entities.token_issuers import LimitSpec, TokenIssuer, TokenIssuerSpec

__all__ = [
    "HASHES",
    "ApiKey",
    "ApiKeySpec",
    "CircuitSpec",
    "HashOn",
    "HealthCheckSpec",
    "LimitSpec",
    "PassiveHealthSpec",
    "RateLimitRule",
    "RateLimitRuleSpec",
    "Route",
    "RouteSpec",
    "Service",
    "ServiceSpec",
    "TargetSpec",
    "TlsSpec",
    "TokenIssuer",
    "TokenIssuerSpec",
]
