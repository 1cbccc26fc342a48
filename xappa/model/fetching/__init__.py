"""Released weights, fetched from a dataset repository of the Hugging Face Hub.

What is needed is found by its role in the repository's listing (`select`), written down with size and identity in a
lock file (`lock`), and downloaded, resuming what was interrupted, until every file is the one that the lock names.
"""
