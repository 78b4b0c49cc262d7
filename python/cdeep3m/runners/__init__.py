"""Where the boxes of a run are done: in this process, in several of this machine, on a cluster."""
