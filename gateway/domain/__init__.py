"""The gateway's rules: pure functions over plain values, without RPC, database or clock."""
