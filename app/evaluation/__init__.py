"""The page Evaluation: subjects, sets, results, claims and every item."""
