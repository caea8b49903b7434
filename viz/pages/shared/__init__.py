"""What several pages share: session, address, photo, model and view."""
