"""Small bugs, one for each promise that is easy to break, and the tests that must notice them."""
