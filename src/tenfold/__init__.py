"""Tenfold: one Python service, from one process to millions of users."""
