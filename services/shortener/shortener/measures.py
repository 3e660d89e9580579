"""What the service counts for its owner, on /metrics and in `tf.metrics.read`. No figure names anybody."""

from __future__ import annotations

from shortener.model import tf

LINKS_MADE = tf.metrics.count("links_made", labels=("by",), text="Links made, by accounts or by nobody in particular.")
ACCOUNTS_MADE = tf.metrics.count("accounts_made", text="Accounts made.")
ACTIVE_ACCOUNTS = tf.metrics.unique("active_accounts", text="Accounts that looked at their links, on a day.")
QUARANTINED = tf.metrics.count("links_quarantined", text="Links put into quarantine.")
