"""What a model does, in numbers: heads, position codes, token order, patch filters, cost."""
