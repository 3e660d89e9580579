"""What changes a deployment: the controller and its hands, and the migrations of the service's database."""
