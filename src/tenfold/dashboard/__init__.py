"""The living picture: a page that shows the running deployment, and from which it can be changed."""
