"""Calls that need a person's leave: what is asked and decided, and whether a call may pass."""
