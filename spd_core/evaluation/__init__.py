"""Did it help? Answers, scores, tables, and what they may be said to show."""
