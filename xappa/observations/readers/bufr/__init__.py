"""Reports in BUFR, decoded by ecCodes in processes of their own."""
