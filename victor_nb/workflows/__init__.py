"""Many calls: fan-outs, strategies, comparisons."""
