"""Providers' usage objects as disjoint meters.

Each module knows one provider's way to write usage; its functions are pure: a JSON value in,
meters by the contract's field names out. What can't be believed is missing, never zero and never
an exception: the call is then charged at its hold (tests/unit/headgate/usage).
"""
