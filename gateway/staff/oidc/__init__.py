"""Staff who come in by the installation's OpenID provider."""
