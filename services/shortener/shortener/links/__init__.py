"""Links: `codes`, `hosts`, `urls`, `expiry` judge what comes in (pure); `table` has the row, `finding` the cached
look-up, `making` and `changing` the transactions, `listing` the list of an owner's links, which follows them."""
