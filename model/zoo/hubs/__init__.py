"""Models that others have published: torchvision's, timm's, and those of the Hugging Face hub.

Each is built by its own library and left as it is; only its preprocessing, class names and
tokens are read off. timm and transformers are optional and imported when a name asks for them.
Weights are fetched once, by the library that knows them, and kept in its own cache.
"""
