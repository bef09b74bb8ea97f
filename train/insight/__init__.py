"""What a training knows about its photos: which labels look wrong, and what more photos would bring."""
