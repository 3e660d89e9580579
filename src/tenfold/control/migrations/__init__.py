"""Bringing a service's database to the shape its code expects, without ever leaving it in between."""
