"""Users' own code: a `model.py` loaded once, its formatters and handler applied to requests."""
