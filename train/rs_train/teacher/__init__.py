"""CLIP models as teachers of a filter; the only room that loads open_clip.

Takes weights that nobody vouches for, prompts and photos.  Gives embeddings of photos and of texts.
"""
