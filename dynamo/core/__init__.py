"""What the store decides: values and pure functions, no clock, dice, wire or disk."""
