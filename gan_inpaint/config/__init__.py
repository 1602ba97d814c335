"""Check what people configure: types, ranges, quoting."""
