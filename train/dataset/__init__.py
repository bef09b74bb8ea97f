"""What is known of a data set before training: its files, its twins, its splits."""
