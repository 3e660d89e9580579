"""Checkers: pure functions from the operations of a history to findings, one module a checker, each with its source.

| module | judges | names |
|---|---|---|
| `set_full` | adds and reads of a set | lost, stale, unexpected, duplicated, added-twice |
| `register` | writes and reads of unique values | stale-read, unwritten-value, failed-write-seen, read-before-write |
| `counter` | increments and reads | too-low, too-high, went-backwards, not-a-number |
| `bank` | transfers and reads of all accounts | total-changed, negative-balance, balance-unexplained, accounts-differ |
| `unique_ids` | drawn ids | id-twice, id-out-of-order, not-an-id |
| `sessions` | versions that one client wrote and read | read-your-writes, monotonic-reads, monotonic-writes, ... |
| `staleness` | the age of what a cache answers | stale, unwritten-version, failed-write-seen |
| `availability` | requests that failed or were held | no-answer, refused, server-error, held-too-long |
| `holding` | requests that were open during a move, or while the database was away | failed, held-too-long |
| `killed` | requests that a killed web server or balancer could have met | failed |
| `exactly_once` | counters of one client each | counted-twice, not-counted, not-a-number |
| `streams` | WebSockets and event streams | cut, wrong-close, wrong-echo, gap, repeat, silent, not-connected |
| `clients` | the history itself | client-overlaps, client-after-unknown |

They share one notion of order: an operation precedes another when it ended before the other was sent (strictly).
Unknown operations never precede anything, and take effect at any time after they were sent, or never. Reads that failed
say nothing.
"""
