"""What the moves of web servers and balancers share: maps, decisions, and the processes of the tier."""
