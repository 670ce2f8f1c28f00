"""Stateful sessions, and what keeps the KV cache of the live ones warm."""
