"""Read data sets, as published or packed, draw scenes, and open the sample photos."""
