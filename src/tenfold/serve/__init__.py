"""What stands between the sockets and the service: the ASGI middleware, the web process, its drain."""
