"""What a training run leaves for people to read: results.csv, results.png and report.html."""
