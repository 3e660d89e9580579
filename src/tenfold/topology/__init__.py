"""What is wanted (the spec), what runs (the map), the eleven steps, and the difference between two topologies. Pure."""
