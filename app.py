"""The ASGI application for `uvicorn app:app`: its start opens the proxy port too, so one process serves both."""

from microgateway.process.application import Application

app = Application()
