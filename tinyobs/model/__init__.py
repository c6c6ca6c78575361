"""L0: the values everything else is made of.  Pure; imports nothing of TinyObs but `errors`."""
