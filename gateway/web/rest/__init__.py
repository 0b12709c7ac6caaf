"""The RPCs as HTTP/JSON: the contracts declare the paths, one transcoder serves them all."""
