"""Measure attribution maps: faithfulness, localisation, agreement with other maps."""
