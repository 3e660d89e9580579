"""The face for programs: JSON in, JSON or problem documents (RFC 9457) out. `body` reads what comes in (pure), `orders`
judges links that are asked for, `links`, `keys` and `moderation` answer."""
