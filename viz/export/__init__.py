"""What is carried away from a page: pictures, numbers, animations, words, and the program.

A page or `python -m viz` describes what it shows as an `Export`; its method `write` makes the
files of it, each when somebody asks for it.
"""
