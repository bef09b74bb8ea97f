"""From photos to weights: data set, training, report of a run."""
