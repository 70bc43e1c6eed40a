"""What zgc-compat is made of; it runs in the source tree only."""
