"""What a run takes, before it runs: operations, memory, seconds; and how it is divided so as to fit."""
