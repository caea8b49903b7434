"""Browser components: a folder each, what they share, their payloads and how they are mounted."""
