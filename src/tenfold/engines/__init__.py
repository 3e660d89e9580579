"""Engines: existing server programs, how they are configured, started, observed and stopped."""
