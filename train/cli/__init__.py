"""The commands edge-train and edge-data."""
