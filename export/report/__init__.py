"""The page of a bundle: how its graphs answer against PyTorch."""
