"""For all tests: Ctrl-C means what it means at a terminal, also when the tests were started in the background.

A shell without job control starts `make test &` with SIGINT ignored, and every child would inherit that: those under
test that are sent Ctrl-C would not notice.

Deployments run without the dashboard, which only its own tests want.
"""

import os
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("TENFOLD_DASHBOARD", "off")
