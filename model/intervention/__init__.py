"""Look into a running model, and change it while it runs."""

from model.intervention.head_steps import inside_head

__all__ = ["inside_head"]
