"""Health: is the provider fit, and are calls stopped.

Its promises, each with the tests that hold it to them (under tests/):

1. A breaker opens on exactly the fifth failure in a row, counted over all replicas in the order
   of their commits
   (integration/health/test_breakers.py::test_of_64_concurrent_failures_over_two_replicas_the_fifth_opens).
2. The outcome of a call that was admitted before a breaker's last change of state changes nothing,
   whatever the history (unit/health/test_decisions_model.py, unit/health/test_parts.py).
3. At most the configured number of probes is out at once, over all replicas
   (integration/health/test_probes.py::test_of_64_concurrent_wishes_over_two_replicas_as_many_as_allowed_are_granted).
4. A breaker never gets stuck: probes that never end expire, and good ones close it
   (unit/health/test_decisions_model.py, integration/health/test_probes.py).
5. A kill that returns in force was acknowledged by admission, not read from our own row
   (integration/health/test_kills.py::test_a_repeated_kill_asks_admission_not_its_own_row).
6. An order to kill or resume stands once stored: whatever dies, it is driven on until admission
   acknowledges (integration/health/test_process.py, integration/health/test_kills.py).
7. Of orders at the same time the highest sequence wins, here and in admission
   (unit/health/test_kills.py, integration/health/test_kills.py).
8. A stream begins with the whole state and goes on with what changes after it, in order of
   versions (integration/health/test_watch.py, integration/health/test_watchers.py); it ends
   rather than repeat old news (integration/health/test_stale_streams.py).
9. A slow watcher costs no memory: it gets the newest state of what it missed, once
   (test_a_slow_watcher_gets_the_newest_state_once_not_a_queue_of_what_it_missed).
10. A healthy provider's success takes no lock
    (test_a_healthy_provider_s_success_waits_for_nobody_s_lock).

11. What one org fails alone opens nothing for others (unit/health/test_windows.py,
    integration/health/test_tallies.py::test_one_org_s_calls_open_nothing_for_others).
12. Outcomes of invented providers fill no table
    (integration/health/test_orders.py::test_invented_providers_and_credentials_fill_no_table).
13. Nobody changes a guardrail but a migration: a trigger refuses it, and health does not start
    where one is different (integration/health/test_toggles.py).

It does not promise that every watcher sees every state: two transitions in quick succession may
arrive as the second one alone.
"""

from __future__ import annotations
