"""The interfaces that the stand-in speaks: each turns one call into one provider's words."""
