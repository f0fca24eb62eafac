"""Which images look alike (spec 30 section 10).

Retrievers are found by name in ``registry("retrievers")``: ``mast3r``, upstream's retrieval checkpoint, and
``encoder``, which needs nothing but the network's own features.
"""

from .asmk import AsmkDatabase, asmk_similarity
from .asmk_retriever import AsmkRetriever
from .checkpoint import RetrievalCheckpoint, RetrievalOptions, read_codebook, read_retrieval_checkpoint
from .encoder_retriever import EncoderRetriever
from .head import LocalFeatures, RetrievalHead
from .retriever import Retriever, image_similarity, make_retriever
from .whitening import Whitening

__all__ = [
    "AsmkDatabase",
    "AsmkRetriever",
    "EncoderRetriever",
    "LocalFeatures",
    "RetrievalCheckpoint",
    "RetrievalHead",
    "RetrievalOptions",
    "Retriever",
    "Whitening",
    "asmk_similarity",
    "image_similarity",
    "make_retriever",
    "read_codebook",
    "read_retrieval_checkpoint",
]
