"""What a developer runs on one machine: a real Postgres, and all services under one supervisor.

Promises:

1. Only a server that really runs on our data folder is trusted, adopted or signalled
   (`tests/integration/local/test_postgres_recovery.py`).
2. After `kill -9` of anything the next start works and the data are intact
   (`tests/integration/local/test_postgres_recovery.py`).
3. A temporary server ends with the process that started it, even by `kill -9`
   (`tests/integration/local/test_postgres_temporary.py`).
4. Nothing runs as root that refuses to: Postgres drops to an unprivileged user, and no folder
   that existed before changes its mode (`tests/integration/local/test_postgres.py`).
"""
