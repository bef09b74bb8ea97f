"""The commands of the ground floor, and what all commands share."""
