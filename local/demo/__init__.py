"""`make demo`: real traffic through a running Headgate, and at its end the reconciliation.

It uses orgs, operations, providers and limits of its own, all named `demo-…`, and removes its cap
at the end. Promises:

1. Every call's provider bill is compared with what Headgate booked, to the nano-dollar; the demo
   fails if a difference has another cause than *unreported* or *cancelled mid-stream*.
   Test: test_a_reported_call_that_differs_by_one_nano_fails
2. Every completion that Headgate acknowledged is asked again at the end, and must stand.
   Test: test_a_lost_acknowledged_completion_fails
3. Usage log, rollups and counters are compared per org, day and month.
   Test: test_books_that_disagree_by_one_nano_fail
4. `kill -9` of any service or of Postgres meanwhile changes none of this.
   Test: test_the_demo_reconciles_though_every_part_is_killed_once
5. A demo that is killed leaves no process behind, and the next one removes its cap and its kill.
   Tests: test_the_stand_in_ends_with_its_parent,
   test_what_a_killed_demo_left_is_cleared_before_the_next_one
"""
