"""Measurements over HTTP: they import nothing of the server they measure."""
