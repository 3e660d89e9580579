"""Abuse: reports of links that do harm, for administrators to look at. The quarantine itself is in `links.changing`."""
