"""Browser components: a folder each, with payloads, a drawing style, and mounts on a page."""
