"""Running queries side by side: who gets a slot, whose turn it is to compute, what is under way, what is noted of it."""
