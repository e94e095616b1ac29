"""CLIP models as teachers of a filter; the only room that loads open_clip.

Takes untrusted weights, prompts and photos.  Gives embeddings of photos and of texts.
"""
