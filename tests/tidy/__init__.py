"""The style of this repository, as tests.

An exception to a rule stands in the test's own list, with its reason.
"""
