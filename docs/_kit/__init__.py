"""What makes the pages of a site executable: Python-Markdown extensions, each for one page alone.

The kit knows nothing of batch normalisation. `page` is the ground floor; the other modules know it
and nothing of each other.
"""
