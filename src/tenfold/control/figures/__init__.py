"""How much passes through a running deployment, by node: rates, percentiles, processor, memory."""
