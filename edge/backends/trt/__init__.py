"""TensorRT beneath its backend: building, CUDA memory, and what is kept of them."""
