"""What travels as JSON or text, as JSON Schema, by name: a file for each subject."""
