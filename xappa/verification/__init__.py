"""How good an analysis is: scores against fields and reports, and what to hold them against."""
