"""How good an attribution map is: faithful, well placed, in agreement with others."""
