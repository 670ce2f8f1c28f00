"""Runs `lmcache`, as `python -m lmcache.cli.main` does, without the access log of its HTTP side.

LMCache 0.5.6 turns uvicorn's on (http_server.py:251) and has no option against it; a question every two seconds whether
the server is well would be most of its log.
"""

import logging
import runpy

if __name__ == "__main__":
    # On the logger, for uvicorn replaces its handlers and its level.
    logging.getLogger("uvicorn.access").addFilter(lambda _record: False)
    runpy.run_module("lmcache.cli.main", run_name="__main__", alter_sys=True)
