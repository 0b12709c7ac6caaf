"""A scripted outage under load: what callers see when a provider fails in every way it can.

1. No caller sees an error: it gets another model's answer, or the route's fallback text.
2. Breakers open, probe and close by themselves, and the provider gets its calls back.
3. What answered is what is booked, and the books agree with the provider's own bill.
"""
