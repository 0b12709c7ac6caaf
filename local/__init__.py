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
5. What ends unasked, Postgres included, is back at its address
   (`tests/integration/local/test_up.py`), and who keeps ending waits longer each time
   (`tests/integration/local/test_supervisor.py`).
6. A stop drains the gateways first; a killed supervisor takes all its processes with it. Data,
   keys and ports are the same at the next start (`tests/integration/local/test_up.py`).
7. Systems of several checkouts run beside each other
   (`tests/integration/local/test_up.py::test_another_system_beside_it_has_ports_of_its_own`).
8. Keys are shown at the first start and on request. They lie in files that only their owner
   reads, and neither in Postgres, logs nor command lines (`tests/integration/local/test_up.py`).
"""
