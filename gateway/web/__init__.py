"""The gateway's HTTP face: toggles by the OpenFeature Remote Evaluation Protocol."""

from __future__ import annotations
