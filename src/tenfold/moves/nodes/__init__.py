"""What the moves of web servers, workers and balancers share: maps, decisions, and the processes of the tier."""
