"""A node of the balancer tier: a small process that looks after one HAProxy and lets it follow the map.

`python -m tenfold.serve.balancer`, a child of the keeper. HAProxy outlives it: requests do not notice when this process
is killed, and the next one takes over the HAProxy that runs.
"""
