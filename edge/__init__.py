"""binsight's ground floor: the contract (bundle, preprocessing) and the camera daemon. Never torch."""

__version__ = "0.1.0"
