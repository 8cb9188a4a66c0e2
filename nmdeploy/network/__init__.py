"""Networks: the graph in float and in integers, and the loop that steps through it."""
