"""Networks that the project builds itself: vision transformers and their parts."""
