"""The gateway: who is asking, which model first; it composes the services behind it.

Its promises, each with the tests that hold it to them (under tests/):

1. A call acts for an org that its key was made for, and strangers learn nothing of another org's
   calls (test_strangers_learn_nothing_of_another_orgs_calls).
2. Every method asks for a role, and a revoked or expired key passes for less than a second more
   (test_each_role_may_call_its_methods_and_no_other, test_a_role_for_an_org_ends_at_that_org,
   test_a_revoked_key_is_refused_within_a_second_on_every_gateway).
3. What is held for a call covers every bill within its bounds
   (test_no_bill_within_the_bounds_exceeds_the_hold).
4. A permit is believed only as a gateway signed it, and prices the report as the call was admitted
   (test_no_bit_can_be_changed, test_a_call_is_priced_as_it_was_admitted).
5. A peer that is away makes calls wait and never decides for them; while health is silent its last
   state holds and is called stale, and admission's fence still stops calls
   (tests/integration/gateway/test_outages.py,
   test_a_gateway_that_cannot_hear_health_is_stopped_by_the_fence).
6. When Kill has returned nothing is admitted, replays included
   (test_after_a_kill_nothing_is_admitted_until_it_is_lifted).
7. A report that was acknowledged is booked once, however often it comes, and its hold is settled
   at the latest by the feed (test_a_report_is_booked_once_however_often_it_comes,
   test_without_admission_nothing_is_admitted_and_reports_are_booked).
8. A wrong field is named and changes nothing; a wrong member of a batch fails alone
   (tests/integration/gateway/test_bad_input.py, tests/integration/gateway/test_fuzzing.py,
   test_each_member_of_a_batch_is_answered_by_itself).
9. Every change by staff is on the audit log before it happens, failures included, and nobody can
   rewrite that log unnoticed (tests/integration/gateway/test_admin.py,
   tests/integration/gateway/test_audit.py).
10. The secret of a key, session or invitation is stored nowhere, and guessing passwords is slow
    (test_a_session_acts_as_its_owner_and_its_token_is_stored_nowhere,
    test_nobody_guesses_more_than_a_hundred_passwords_a_day,
    test_every_change_leaves_an_entry_that_says_it_is_done,
    test_bootstrap_makes_an_install_usable_and_repeats_harmlessly).
11. A call that needs a person's leave is admitted with it alone, once, as people saw it
    (test_a_call_waits_for_a_person_holds_nothing_and_is_then_admitted_once,
    test_what_one_gateway_hears_every_gateway_knows_and_a_kill_loses_nothing).
"""

from __future__ import annotations
