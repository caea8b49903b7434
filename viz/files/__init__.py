"""What `python -m viz` writes of a picture: pictures, numbers, animations, words, and HTML.

Each file is written beside its place and renamed, so nobody finds half a file there.
"""
