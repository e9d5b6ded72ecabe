"""What a notebook shows: the magics, their grammar, and the display. IPython lives only here."""
