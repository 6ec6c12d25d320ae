"""`python -m microgateway`."""

from microgateway.cli import main

main()
