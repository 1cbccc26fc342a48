"""Parts of other libraries that these do not promise to keep, in one file for each library, and nowhere else."""
