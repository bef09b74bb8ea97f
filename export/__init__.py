"""From weights to a bundle that has proven itself."""
