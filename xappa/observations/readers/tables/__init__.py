"""Tables of reports: text files and data frames, tidy or wide."""
