"""The commands: they parse, call one function, and translate errors to exit statuses."""
