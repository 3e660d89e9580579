"""A URL shortener: short codes in, redirects out. An ordinary service: it imports `tenfold` and nothing inside it."""
