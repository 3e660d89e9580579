"""What the probe accepts, and what a bank opens with; the workloads go by the same numbers."""

NAME = 64
"""Characters of a key and of a value."""
ELEMENTS = 5000
"""Elements of one set."""
ACCOUNTS = 8
"""Accounts of a bank, numbered from 0."""
BALANCE = 100
"""What is in each of them in the beginning."""
DRAWS = 1000
"""Ids of one request."""
OFFSET_S = 86_400.0
"""How far the clock of a process may be put forward or back, in seconds."""
WAIT_MS = 5000
"""How long a request may ask to wait before it is answered, in milliseconds."""
EVENT_MS = 100
"""Milliseconds between two events of a stream."""
ECHO = 1024
"""Characters of a WebSocket's message."""
BODY_LIMIT = 4096
"""Bytes of a request's body."""
