"""What a machine has and lacks to be a bin: `edge.doctor.examine`, and a file for each area."""
