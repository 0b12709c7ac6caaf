"""The command line `headgate`: operates a running Headgate through its admin API.

It decides nothing: each command is one RPC, checked and audited by the gateway. What a person may
see as a table, a program gets with `--json`: the contract's messages in protobuf's JSON form, so
64-bit integers are strings and no amount is ever rounded.
"""
