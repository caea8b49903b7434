"""Drawing attention: numpy in, pictures out."""
