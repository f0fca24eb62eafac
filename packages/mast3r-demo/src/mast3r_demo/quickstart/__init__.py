"""``mast3r quickstart``: a shipped scene whose truth is known, matched and reconstructed (spec 60 F1).

One file a concept: ``example`` (the scene and its truth), ``measures`` (results against the truth), ``files``
(what is in the output folder), ``table`` (what a person reads), ``command`` (the whole way), ``cli``.
"""
