"""Results on their way out: stores, chunks and codecs, regions, what is kept beside a store until it is complete."""
