"""The deployment as a picture: tiers of nodes, and arrows between them."""
