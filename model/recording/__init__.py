"""Record attention while a model runs, and what follows from records alone: windows and rollout."""
