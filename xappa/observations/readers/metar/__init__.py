"""METAR and SPECI reports in bulletins of text."""
