"""The services that ours is compared with; each module is an ASGI application of its own."""
