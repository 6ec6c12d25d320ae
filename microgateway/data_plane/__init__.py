"""Carries bytes: HTTP/1.1 on both sides, on asyncio protocols, with no coroutine and no timer per request."""
