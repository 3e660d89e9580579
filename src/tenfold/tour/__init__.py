"""The tour: a service grows before a person's eyes, step by step, under load, until each step's bottleneck appears.

`guide` leads it, `stage` is the copy of a service that it happens on, `search` finds what a step carries (pure), and
`report` leaves what was seen.
"""
