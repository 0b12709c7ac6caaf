"""What every server process needs and that has no business word.

Its promises, each with the tests that hold it to them (under tests/):

1. A failure reaches the client with its code, reason and wrong fields; an unknown exception leaks
   nothing and is logged (integration/chassis/test_server.py).
2. Nobody is served without the service token, and nothing is begun that can't end in time
   (integration/chassis/test_server.py).
3. A process that is told to stop under load fails no RPC and ends with code 0
   (integration/chassis/test_process.py, integration/chassis/test_drain.py).
4. Readiness is not liveness: a database that is away takes load off a process and kills it not
   (integration/chassis/test_probes.py).
5. A wrong configuration is one line that names the variable and no secret
   (integration/chassis/test_commands.py).
6. Migrations are applied once, also by two at once and after an interruption; an edited history is
   refused (integration/chassis/test_migrations.py).
7. A server's database role can use its own schema and nothing else
   (integration/chassis/test_provision.py).
8. Calls to a peer go to whichever of its replicas lives (integration/chassis/test_peers.py).
9. With TLS, nobody without a good certificate is served or asked, and certificates are renewed
   without a restart (integration/chassis/test_tls.py).
"""

from __future__ import annotations
