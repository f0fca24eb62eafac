"""The tabs of the page: each file builds one part and wires it."""
