"""HAProxy: what stands at the front door from the step with a load balancer on."""
