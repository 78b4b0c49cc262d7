"""The same nets with fewer passes over memory; each equals the plain net."""
