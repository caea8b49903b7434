"""The server beside the pages: what a browser asks for without a rerun, and the limits of work."""
