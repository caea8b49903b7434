"""Browser components: each a folder, with their payloads, the style they draw in, and their mounts."""
