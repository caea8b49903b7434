"""Pictures: maps, photos and lettering in, an image out."""
