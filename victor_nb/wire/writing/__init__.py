"""What simulated models say: one module for each shape of answer."""
