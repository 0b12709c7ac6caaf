"""A stand-in for AI providers: with real latency, errors, usage fields and a bill.

It speaks the interfaces of OpenAI, Anthropic, Google and Mistral (voices/), for each provider.

It knows nothing of Headgate but one header, `x-headgate-call-id`, which it writes on its bill. It
shares no code with accounting: it has its own prices (prices.json) and its own arithmetic, so that
the demo compares two independent books.

1. Each call that was charged is one line of the bill file, written before its last byte leaves.
   Test: test_a_full_call_is_one_line_on_the_bill
2. A call that the client cancels is billed for its input and the tokens generated so far.
   Test: test_a_cancelled_stream_is_billed_for_what_was_generated
3. A call that the stand-in itself fails (4xx, 5xx, a broken stream) is not billed.
   Test: test_failed_calls_are_not_billed
"""
