"""How nodes talk: framed messages over connections that each side dials itself."""
