"""What a deployment should do next, by its figures: mostly nothing."""
