"""The dashboard: a page, styles and ES modules that a browser runs as they stand here. Nothing is built or fetched.

The control plane serves them; they know of the gateway only what its API answers.
"""
