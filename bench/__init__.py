"""Speed, as ratios against a bare echo measured in the same run. Not tests: nothing here is timed
by `make test`.
"""

from __future__ import annotations
