"""Visits: `kinds` says what is kept of one (pure), `record` tells it to the events block in the redirect, `counting`
adds batches of them to the days of a link, `allowance` ends links that may be visited so often only, `figures` reads
the days, `plot` lays them out (pure).

No address of a visitor is stored, and nothing that tells one visitor from another."""
