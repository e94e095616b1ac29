"""The search for similar photos by features, which duplicates, outliers and label votes share.

Takes features of photos.  Gives each photo's most similar ones, and the recall of the search.
"""
